"""The paper's own backbone, with random weights: shapes and memory, nothing about accuracy."""

import pytest
import torch

from zsad_train.descriptions import read_descriptions
from zsad_train.methods.base import Batch, TrainingWords
from zsad_train.methods.dive import Dive
from zsad_train.methods.dive_config import PRESETS
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
