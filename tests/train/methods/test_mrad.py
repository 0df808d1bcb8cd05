import dataclasses
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from zsad.errors import InputError
from zsad_train.checkpoint import build_method, load_checkpoint, save_checkpoint
from zsad_train.config import TrainConfig
from zsad_train.loop import fit
from zsad_train.losses import dice_loss, focal_loss, segmentation_loss
from zsad_train.methods.mrad_config import PRESETS, MradConfig

RELEASED = dataclasses.asdict(PRESETS["mrad-released"])
VARIANTS = [
    {},
    {**RELEASED, "region_threshold": 1 / 3},
    {"maps": "retrieval"},
    {"retrieval_ln_post": False, "cls_ln_post": True, "vv_from_block": -2},
    {"text_depth": 1, "context_length": 4, "weight_image": 0.4, "top_share": 0.2},
]


def naive_shares(features, memory, retrieval):
    """Return the abnormal share of features (n, width) over the keys, one by one."""
    values = torch.zeros(len(memory.keys))
    values[memory.normal :] = 1
    keys = retrieval.key(memory.keys)
    return torch.stack(
        [((keys @ retrieval.query(x)).softmax(dim=0) * values).sum() for x in features]
    )


def naive_pool(patches):
    """Return 4 x 4 patches averaged over 1, 9 and 25 places, what is outside being zero."""
    grid, out = patches.reshape(4, 4, -1), torch.zeros(4, 4, patches.shape[-1])
    for row in range(4):
        for column in range(4):
            for reach in (0, 1, 2):
                near = grid[max(row - reach, 0) : row + reach + 1,
                            max(column - reach, 0) : column + reach + 1]  # fmt: skip
                out[row, column] += near.sum(dim=(0, 1)) / (2 * reach + 1) ** 2 / 3
    return F.normalize(out.reshape(16, -1), dim=-1)


def naive_text(method, shift):
    """Return the pair (2, D) for one shift (2, width), all 77 tokens through the whole tower."""
    config, backbone, learner = method.config, method.backbone, method.branches[0]
    filler = " ".join("X" * config.context_length)
    words = [config.normal_words, config.abnormal_words]
    ids = backbone.tokenize([f"{filler} {word}." for word in words])
    x = backbone.text.embed(ids).clone()
    for index in (0, 1):
        x[index, 1 : 1 + config.context_length] = learner.own[index] + shift[index]
    x = x + backbone.text.positional_embedding
    mask = torch.full((77, 77), float("-inf")).triu(1)
    for index, block in enumerate(backbone.text.blocks):
        if 0 < index <= len(learner.deep):
            deep = learner.deep[index - 1]
            x = x.clone()
            x[:, 1 : 1 + len(deep)] = deep.half().float() if config.deep_half else deep
        h = block.ln_1(x)
        x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
        x = x + block.mlp(block.ln_2(x))
    end = ids.argmax(dim=-1)
    return backbone.text.ln_final(x)[torch.arange(2), end] @ backbone.text.text_projection


def naive_prediction(method, images):
    """Score images one by one from the definitions."""
    config, vision = method.config, method.backbone.vision
    scores, maps = [], []
    for image in images:
        features = method.reading(vision, image[None])
        tokens = naive_pool(features.tokens[0][0])
        z = naive_pool(features.patches[0][0])
        p = naive_shares(tokens, method.patch_retrieval.memory, method.patch_retrieval)
        if config.maps == "text":
            regions = [z[p <= config.region_threshold], z[p > config.region_threshold]]
            means = [r.mean(dim=0) if len(r) else torch.zeros(16) for r in regions]
            layers = (method.router.normal, method.router.abnormal)
            shift = torch.stack([layer(m) for layer, m in zip(layers, means, strict=True)])
            text = F.normalize(naive_text(method, shift), dim=-1)
            normal, abnormal = (z @ text.T / config.tau).softmax(dim=-1).T
            p = (abnormal + 1 - normal) / 2
        maps.append(method.smooth(p.reshape(1, 4, 4))[0])
        count = int(config.top_share * 32 * 32)
        top = maps[-1].flatten().sort().values[-count:].mean()
        image_key = F.normalize(features.image, dim=-1)
        share = naive_shares(image_key, method.image_retrieval.memory, method.image_retrieval)[0]
        scores.append((1 - config.weight_image) * top + config.weight_image * share)
    return torch.stack(scores), torch.stack(maps)


@pytest.mark.parametrize("options", VARIANTS)
def test_the_prediction_is_the_naive_one(moved_mrad, batch, options):
    method = moved_mrad(**options)
    with torch.no_grad():
        prediction = method(batch.images)
        score, anomaly_map = naive_prediction(method, batch.images)
    torch.testing.assert_close(prediction.score, score, atol=1e-5, rtol=0)
    torch.testing.assert_close(prediction.anomaly_map, anomaly_map, atol=1e-5, rtol=0)
    torch.testing.assert_close(prediction.score_logit.sigmoid(), prediction.score)


@pytest.mark.parametrize("options", VARIANTS)
def test_an_image_is_judged_the_same_in_any_batch(moved_mrad, batch, assert_same, options):
    method = moved_mrad(**options)
    together = method(batch.images)
    for index in range(4):
        alone = method(batch.images[index : index + 1])
        assert_same(alone, type(alone)(*(tensor[index : index + 1] for tensor in together)))


def test_the_memory_holds_every_image_and_at_most_two_regions_of_it(make_mrad, batch):
    method = make_mrad()
    images, regions = method.image_retrieval.memory, method.patch_retrieval.memory
    assert (images.normal, int(images.abnormal)) == (6 + 2, 6 + 2)
    assert (regions.normal, int(regions.abnormal)) == (16, 8)
    torch.testing.assert_close(regions.keys.norm(dim=-1), torch.ones(24))
    with torch.no_grad():
        features = method.look(batch)
    wanted = F.normalize(features.image[0], dim=0)
    assert (images.keys - wanted).abs().amax(dim=1).min() < 1e-6


def test_a_region_is_the_mean_of_its_patches_before_they_have_length_1(make_mrad, batch):
    """Image 3 is defective in its rows and columns from the second on: 9 of 16 patches."""
    method = make_mrad()
    with torch.no_grad():
        features = method.look(batch)
    grid = features.tokens[0][3].T.reshape(1, 32, 4, 4)
    sides = (1, 3, 5)
    pooled = sum(F.avg_pool2d(grid, k, stride=1, padding=k // 2) for k in sides)[0] / 3
    wanted = F.normalize(pooled[:, 1:, 1:].mean(dim=(1, 2)), dim=0)
    memory = method.patch_retrieval.memory
    abnormal = memory.keys[memory.normal :]
    assert (abnormal - wanted).abs().amax(dim=1).min() < 1e-6


def test_images_without_pixel_labels_give_no_region(backbone, make_mrad, batch):
    method = make_mrad()
    method.memorise([batch, batch._replace(has_mask=torch.zeros(4, dtype=torch.bool))])
    assert len(method.image_retrieval.memory.keys) == 8
    assert len(method.patch_retrieval.memory.keys) == 4 + 2


def test_the_retrieval_is_learned_first_and_alone(moved_mrad, batch):
    method = moved_mrad()
    for epoch, learned in (
        (1, ("patch_retrieval", "image_retrieval")),
        (2, ("router", "branches")),
    ):
        method.begin_epoch(epoch)
        method.zero_grad()
        sum(method.loss(batch).values()).backward()
        for name, parameter in method.named_parameters():
            reached = parameter.grad is not None and parameter.grad.abs().sum() > 0
            assert reached == (name.startswith(learned) and parameter.numel() > 0), name


def test_without_prompts_every_epoch_learns_the_retrieval(moved_mrad, batch):
    method = moved_mrad(maps="retrieval")
    method.begin_epoch(7)
    assert method.loss(batch).keys() == {"retrieved_maps", "retrieved_image"}
    names = {name.split(".")[0] for name, p in method.named_parameters() if p.requires_grad}
    assert names == {"patch_retrieval", "image_retrieval"}


def test_the_terms_are_those_of_the_code(moved_mrad, batch):
    method = moved_mrad(tau=0.1, focal_gamma=1.5)
    from zsad_train.methods.judge import Sight

    sight = Sight.of(method.look(batch), (4, 4))
    share = method.patch_retrieval.share(sight.tokens, 0.8)
    full = F.interpolate(share.view(4, 1, 4, 4), size=(32, 32), mode="bilinear")[:, 0]
    image = method.image_retrieval.share(sight.image, 0.95)
    logits = torch.stack([1 - image, image], dim=1) / 0.1
    expected = {
        "retrieved_maps": focal_loss(full, batch.masks, 1.5) + dice_loss(full, batch.masks),
        "retrieved_image": F.cross_entropy(logits, batch.labels),
    }
    terms = method.loss(batch)
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)
    method.begin_epoch(2)
    (shift,) = method.router(sight, share.logit())
    text = F.normalize(method.encode(0, shift), dim=-1)
    maps = (sight.patches @ text.mT / 0.1).softmax(dim=-1)[..., 1].view(4, 1, 4, 4)
    full = F.interpolate(maps, size=(32, 32), mode="bilinear")[:, 0]
    terms = method.loss(batch)
    assert terms.keys() == {"maps"}
    torch.testing.assert_close(terms["maps"], segmentation_loss(full, batch.masks, 1.5))


def test_images_without_pixel_labels_do_not_enter_the_map_losses(moved_mrad, batch):
    method = moved_mrad()
    bare = batch._replace(has_mask=torch.zeros(4, dtype=torch.bool))
    assert method.loss(bare)["retrieved_maps"].item() == 0
    method.begin_epoch(2)
    term = method.loss(bare)["maps"]
    assert term.item() == 0 and term.requires_grad


def test_a_region_that_is_not_there_shifts_by_the_bias_alone(moved_mrad, batch):
    from zsad_train.methods.judge import Sight

    method = moved_mrad()
    sight = Sight.of(method.look(batch), (4, 4))
    (shift,) = method.router(sight, torch.full((4, 16), -9.0))
    torch.testing.assert_close(shift[:, 1], method.router.abnormal.bias.expand(4, -1))
    assert (shift[:, 0] - method.router.normal.bias).abs().max() > 1e-3


def test_no_graph_is_kept_of_the_vision_tower(moved_mrad, batch):
    assert not any(tensor.requires_grad for tensor in moved_mrad().look(batch).tensors())


def test_every_trainable_parameter_is_optimised_once(make_mrad):
    method = make_mrad()
    (parameters,) = method.parameter_groups().values()
    trainable = {id(p) for p in method.parameters() if p.requires_grad}
    assert len(parameters) == len(trainable) and {id(p) for p in parameters} == trainable


@pytest.mark.parametrize("maps", ["text", "retrieval"])
def test_training_lowers_the_loss_and_fills_the_memory(make_mrad, squares, tmp_path, maps):
    method = make_mrad(maps=maps)
    config = TrainConfig(epochs=6, batch_size=4, lr_prompts=1e-2, device="cpu")
    records = fit(method, squares(count=16), config, tmp_path / "mrad.pt")
    same = [r.loss["total"] for r in records if r.loss.keys() == records[-1].loss.keys()]
    assert same[-1] < 0.95 * same[0]
    assert len(method.image_retrieval.memory.keys) == 16


def test_a_resumed_run_equals_the_uninterrupted_one_to_the_bit(make_mrad, squares, tmp_path):
    from zsad_train.epochs import Progress

    config = TrainConfig(epochs=3, batch_size=4, device="cpu")
    whole = make_mrad()
    fit(whole, squares(), config, tmp_path / "whole.pt")
    fit(make_mrad(), squares(), dataclasses.replace(config, epochs=1), tmp_path / "part.pt")
    checkpoint = load_checkpoint(tmp_path / "part.pt")
    progress = Progress.of(checkpoint.training, "part.pt")
    resumed = build_method(checkpoint)
    fit(resumed, squares(), config, tmp_path / "part.pt", progress=progress)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_checkpoint_holds_what_was_trained_and_remembered(
    moved_mrad, batch, assert_same, tmp_path
):
    method = moved_mrad(**RELEASED)
    save_checkpoint(tmp_path / "mrad.pt", method, {})
    checkpoint = load_checkpoint(tmp_path / "mrad.pt")
    assert checkpoint.state["patch_retrieval.memory.keys"].shape == (24, 32)
    again = build_method(checkpoint)
    assert again.config == PRESETS["mrad-released"]
    assert_same(again(batch.images), method(batch.images), tolerance=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("patch_retrieval.memory.keys"), "lacks tensor 'patch_retrieval.memory.k"),
        (
            lambda s: s.update({"patch_retrieval.memory.keys": torch.zeros(24, 9)}),
            r"memory.keys' is \(24, 9\), mrad wants \(24, 32\)",
        ),
        (
            lambda s: s.update({"patch_retrieval.memory.keys": torch.tensor(24.0)}),
            r"memory.keys' is \(\), mrad wants \(1, 32\)",
        ),
        (
            lambda s: s.update({"patch_retrieval.memory.abnormal": torch.tensor(24)}),
            "the memory is empty",
        ),
    ],
)
def test_a_checkpoint_with_another_memory_is_refused(moved_mrad, tmp_path, change, message):
    save_checkpoint(tmp_path / "mrad.pt", moved_mrad(), {})
    checkpoint = load_checkpoint(tmp_path / "mrad.pt")
    state = dict(checkpoint.state)
    change(state)
    with pytest.raises(InputError, match=message):
        build_method(dataclasses.replace(checkpoint, state=state))


def test_the_presets_differ_in_what_they_say():
    paper = dataclasses.asdict(PRESETS["mrad"])
    assert {n for n, v in paper.items() if RELEASED[n] != v} == {"deep_half"}
    ft = dataclasses.asdict(PRESETS["mrad-ft"])
    assert {n for n, v in paper.items() if ft[n] != v} == {"maps"}
    preset = PRESETS["mrad-released"]
    assert (preset.context_length, preset.deep_length, preset.depth_for(12)) == (12, 4, 9)
    assert preset.reading_for(24).vv_from_block == 1 and preset.reading_for(24).taps == (-1,)
    assert preset.top_pixels((518, 518)) == 2683
    assert preset.sigma * 518 == pytest.approx(4)


@pytest.mark.parametrize(
    "options",
    [
        {"retrieval_ln_post": False},
        {"cls_ln_post": True},
        {"sigma": 10 / 518},
        {"deep_half": True},
        {"vv_from_block": 0},
        {"maps": "retrieval"},
    ],
    ids=str,
)
def test_what_is_an_option_shows(moved_mrad, batch, options):
    plain, other = moved_mrad(), moved_mrad(**options)
    state = {n: t for n, t in plain.state_dict().items() if "memory" not in n}
    other.load_state_dict(state, strict=False)
    with torch.no_grad():
        pairs = zip(plain(batch.images), other(batch.images), strict=True)
        assert any((a - b).abs().max() > 1e-6 for a, b in pairs)


def test_hidden_keys_show_in_training_alone(moved_mrad, batch):
    plain, other = moved_mrad(), moved_mrad(hidden_patches=0.5, hidden_images=0.5)
    assert torch.equal(plain(batch.images).score, other(batch.images).score)
    terms = zip(plain.loss(batch).values(), other.loss(batch).values(), strict=True)
    assert all((a - b).abs() > 1e-6 for a, b in terms)


def test_the_map_is_the_released_codes(moved_mrad, batch):
    method = moved_mrad(**{**RELEASED, "sigma": 1 / 16})
    plain = moved_mrad(**{**RELEASED, "sigma": 0.0})
    gaussian_filter = pytest.importorskip("scipy.ndimage").gaussian_filter
    with torch.no_grad():
        maps = plain(batch.images).anomaly_map.numpy()
        found = method(batch.images).anomaly_map.numpy()
    expected = np.stack([gaussian_filter(image, sigma=2.0) for image in maps])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_depth": 5}, "mrad: text_depth 5 is not in 1..4"),
        ({"vv_from_block": -7}, "block -7 does not exist"),
        ({"maps": "words"}, "mrad: maps 'words' is not one of text, retrieval"),
        ({"weight_image": 1.5}, "mrad: weight_image 1.5 is not in 0..1"),
        ({"top_share": 0.0}, "mrad: top_share must be positive"),
        ({"deep_length": 13}, "mrad: deep_length 13 is not in 1..12"),
        ({"memory_limit": 12}, "hold 16 image, 12 is its limit"),
        ({"sigma": -1.0}, "mrad: sigma must not be negative"),
    ],
)
def test_options_that_cannot_be_are_refused(make_mrad, options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make_mrad(**options)


def test_an_unfilled_memory_is_refused(backbone, batch, words):
    from zsad_train.methods.mrad import Mrad

    with pytest.raises(InputError, match="the memory is empty"):
        Mrad(backbone, MradConfig(), words)(batch.images)
