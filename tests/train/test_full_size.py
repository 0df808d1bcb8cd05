"""The paper's own backbone, with random weights: shapes and memory, nothing about accuracy."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from zsad.schema import to_json
from zsad_train.checkpoint import build_method
from zsad_train.descriptions import read_descriptions
from zsad_train.methods import method_class
from zsad_train.methods.base import Batch, TrainingWords
from zsad_train.methods.cops import Cops
from zsad_train.methods.cops_config import PRESETS as COPS
from zsad_train.methods.dive import Dive
from zsad_train.methods.dive_config import PRESETS
from zsad_train.methods.faprompt import FaPrompt
from zsad_train.methods.faprompt_config import PRESETS as FAPROMPT
from zsad_train.released import read_released
from zsad_train.shifted_prompts import SampledPrompts
from zsad_train.similarity import mean_direction
from zsad_train.towers import load_backbone


@pytest.mark.slow
def test_dive_trains_one_step_on_vit_l(tmp_path):
    backbone = load_backbone("ViT-L-14-336-quickgelu", pretrained="random")
    backbone.vision.grad_checkpointing = True
    bank = read_descriptions()
    words = TrainingWords(("cable", "carpet"), bank.abnormal, bank.normal)
    dive = Dive(backbone, PRESETS["dive-paper"], words)
    before = dive.normal.context.clone()
    batch = Batch(
        images=torch.randn(2, 3, 336, 336),
        labels=torch.tensor([0, 1]),
        masks=torch.zeros(2, 336, 336).index_fill_(0, torch.tensor([1]), 1),
        has_mask=torch.ones(2, dtype=torch.bool),
        class_ids=torch.tensor([0, 1]),
    )
    total = sum(dive.loss(batch).values())
    total.backward()
    torch.optim.Adam([p for p in dive.parameters() if p.requires_grad]).step()
    assert total.isfinite() and not torch.equal(dive.normal.context, before)
    assert dive.cross_attention[3].output.weight.grad.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "learned", "ends"),
    [
        ("anomalyclip", 43_008, (15, 16)),
        ("faprompt", 4_100_064, (8, 11)),
        ("cops", 6_554_880, (16, 16)),
    ],
)
def test_files_of_the_authors_sizes_are_read(released_state, tmp_path, method, learned, ends):
    backbone = load_backbone("ViT-L-14-336-quickgelu", pretrained="random")
    state = released_state(backbone, method, deep_sets=8)
    torch.save({"prompt_learner": state}, tmp_path / "epoch_15.pth")
    del backbone
    checkpoint = read_released(
        tmp_path / "epoch_15.pth",
        method,
        "ViT-L-14-336-quickgelu",
        pretrained="random",
        image_size=518,
    )
    preset = method_class(method).presets[f"{method}-released"]
    assert checkpoint.options == to_json(preset)
    assert sum(tensor.numel() for tensor in checkpoint.state.values()) == learned
    built = build_method(checkpoint)
    assert (int(built.normal.eot[0]), int(built.abnormal.eot[0])) == ends
    assert built.backbone.vision.grid_hw == (37, 37)
    assert torch.equal(built.normal.deep[7], state["compound_prompts_text.7"])


@pytest.mark.slow
@torch.no_grad()
def test_faprompt_needs_4_percent_of_the_released_codes_text_work_on_vit_l(record_property):
    backbone = load_backbone("ViT-L-14-336-quickgelu", pretrained="random")
    torch.manual_seed(0)
    method = FaPrompt(backbone, FAPROMPT["faprompt-released"], TrainingWords(()))
    tail = method.abnormal.bake(backbone.text)
    patches = torch.randn(1, 576, 768)
    with FlopCounterMode(display=False) as ours:
        shift = method.prior(patches, patches[..., 0])
        found = tail(shift)
    # 1 + 10 prompts before DAP and 1 + 10 after, all 77 tokens.
    with FlopCounterMode(display=False) as released:
        backbone.text.run_blocks(torch.randn(22, 77, 768), method.abnormal.deep_prompts())
    ratio = ours.get_total_flops() / released.get_total_flops()
    print(f"{ours.get_total_flops() / 1e9:.2f} of {released.get_total_flops() / 1e9:.1f} GFLOP")
    record_property("ratio", ratio)
    assert 0.03 < ratio < 0.04
    whole = method.abnormal(backbone.text, shift)
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_cops_needs_6_percent_of_the_released_codes_text_work_on_vit_l(record_property):
    backbone = load_backbone("ViT-L-14-336-quickgelu", pretrained="random")
    torch.manual_seed(0)
    method = Cops(backbone, COPS["cops-released"], TrainingWords(()))
    samples, learners = method.classes.prior(), (method.normal, method.abnormal)
    tail = SampledPrompts(learners, backbone.text, samples, method.config.prototypes)
    prototypes = method.prototypes(torch.randn(1, 576, 768))
    states = torch.stack(prototypes[::-1], dim=1)
    with FlopCounterMode(display=False) as ours:
        found = tail(states)
    # Ten samples of each state, all 77 tokens.
    with FlopCounterMode(display=False) as released:
        backbone.text.run_blocks(torch.randn(20, 77, 768), method.normal.deep_prompts())
    ratio = ours.get_total_flops() / released.get_total_flops()
    print(f"{ours.get_total_flops() / 1e9:.2f} of {released.get_total_flops() / 1e9:.1f} GFLOP")
    record_property("ratio", ratio)
    assert 0.05 < ratio < 0.07
    whole = method.image_text(prototypes, samples[None])
    torch.testing.assert_close(mean_direction(found), whole, atol=1e-5, rtol=1e-5)
