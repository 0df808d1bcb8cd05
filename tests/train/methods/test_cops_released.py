"""`cops-released` against a naive form of the authors' code: text, scores, maps, training steps."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from naive_cops import ENCODER, NaiveCops, released_names
from scipy.ndimage import gaussian_filter

from zsad_train.checkpoint import build_method
from zsad_train.config import TrainConfig
from zsad_train.loop import make_optimizer
from zsad_train.methods.cops_config import PRESETS
from zsad_train.released import read_released

VISA, MVTEC = "cops-released", "cops-released-mvtec"
TEST = {VISA: {}, MVTEC: {"window": 3, "alpha": 0.35, "beta": 1.0}}
TRAIN = {VISA: {}, MVTEC: {"window": 3, "reconstruct": True}}


def naive(method):
    encoder = {
        f"{name}.{part}": method.classes.get_parameter(f"{name}.{part}").detach()
        for name in ENCODER
        for part in ("weight", "bias")
    }
    return NaiveCops(method.backbone, released_names(method), encoder)


@pytest.mark.parametrize("preset", TEST)
@torch.no_grad()
def test_scores_and_maps_are_the_naive_ones(moved_cops, batch, preset):
    method = moved_cops(**dataclasses.asdict(PRESETS[preset]))
    theirs, found = naive(method), method(batch.images)
    for index in range(4):
        latents = method.classes.latents
        score, grid = theirs.predict(batch.images[index, None], latents, **TEST[preset])
        full = F.interpolate(grid[None, None], size=(32, 32), mode="nearest")[0, 0]
        full = gaussian_filter(full.numpy(), sigma=4 / 518 * 32)
        torch.testing.assert_close(found.score[index], score, rtol=0, atol=1e-5)
        torch.testing.assert_close(
            found.anomaly_map[index], torch.from_numpy(full), rtol=0, atol=1e-5
        )
    assert found.score.std() > 1e-3 and found.anomaly_map.std() > 1e-2


@torch.no_grad()
def test_a_file_of_that_code_gives_its_scores(joint_backbone, released_state, batch, tmp_path):
    state = released_state(joint_backbone, "cops")
    torch.save({"prompt_learner": state}, tmp_path / "epoch_10.pth")
    clip = {"backbone": "zsad-test-joint", "pretrained": "random:3", "image_size": None}
    built = build_method(read_released(tmp_path / "epoch_10.pth", "cops", **clip))
    found, theirs = built(batch.images), NaiveCops(joint_backbone, state)
    scores = [theirs.predict(image[None], built.classes.latents)[0] for image in batch.images]
    torch.testing.assert_close(found.score, torch.stack(scores), rtol=0, atol=1e-5)


@torch.no_grad()
def test_features_prototypes_and_text_are_the_naive_ones(moved_cops, batch):
    method = moved_cops(**dataclasses.asdict(PRESETS[VISA]))
    theirs, samples = naive(method), method.classes.prior()
    image, patches = method.averaged(method.look(batch), 5)
    expected_image, expected_patches = theirs.features(batch.images, 5)
    torch.testing.assert_close(image, expected_image)
    torch.testing.assert_close(patches, expected_patches)
    prototypes = method.prototypes(patches)
    normal, anomalous = theirs.extract(theirs.t_n, patches), theirs.extract(theirs.t_a, patches)
    torch.testing.assert_close(prototypes, (normal, anomalous))
    text = F.normalize(method.image_text(prototypes, samples[None]), dim=-1)
    expected = theirs.text(normal, anomalous, samples.expand(4, -1, -1))
    torch.testing.assert_close(text, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("preset", TRAIN)
@pytest.mark.parametrize("with_defects", [3, 1, 0])
def test_three_optimiser_steps_are_the_naive_ones(make_cops, batch, preset, with_defects):
    # Where a batch has no defect, that code leaves the queries of anomalous prototypes alone.
    batches = [batch] * with_defects
    batches += [batch._replace(masks=torch.zeros(4, 32, 32))] * (3 - with_defects)
    method = make_cops(**dataclasses.asdict(PRESETS[preset]))
    theirs = naive(method)
    ours = make_optimizer(method, TrainConfig())
    optimizer = torch.optim.Adam(
        [p for name, p in theirs.named_parameters() if not name.startswith("backbone.")],
        lr=1e-3,
        betas=(0.5, 0.999),
    )
    start = {name: tensor.clone() for name, tensor in released_names(method).items()}
    for step, batch in enumerate(batches):
        torch.manual_seed(step)
        loss = sum(method.loss(batch).values())
        torch.manual_seed(step)
        expected = theirs.loss(batch, **TRAIN[preset])
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
        for stepping, term in ((ours, loss), (optimizer, expected)):
            stepping.zero_grad()
            term.backward()
            stepping.step()
    found, wanted = released_names(method), dict(theirs.named_parameters())
    for name, parameter in wanted.items():
        if name.startswith(("backbone.", "encoder.")):
            continue
        tensor, parameter = found[to_released(name)], parameter.detach()
        moved = (tensor - start[to_released(name)]).abs().max()
        if name == "attn.in_proj_bias":
            # The bias of keys adds the same to all scores of a softmax: its gradient is rounding,
            # which Adam makes into steps.
            assert (tensor - parameter)[24:48].abs().max() < 3e-3
            tensor[24:48] = parameter[24:48]
        torch.testing.assert_close(tensor, parameter, rtol=0, atol=1e-4, msg=name)
        assert (moved == 0) if name == "t_a" and not with_defects else (moved > 1e-4), name
    for layer, name in zip(theirs.encoder, ENCODER, strict=True):
        weight = method.classes.get_parameter(f"{name}.weight").detach()
        torch.testing.assert_close(weight, layer.weight.detach(), rtol=0, atol=1e-4)


def to_released(name):
    """Return that code's name of a parameter of `NaiveCops`."""
    name = name.replace("deep.", "compound_prompts_text.").replace("decoder.", "vae_decoder.net.")
    if name.startswith("c_"):
        return f"extractor.mlp.{name}"
    return f"extractor.{name}" if name.startswith(("attn.", "ln_")) else name
