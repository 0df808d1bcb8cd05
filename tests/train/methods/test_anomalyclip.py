import numpy as np
import pytest
import torch
import torch.nn.functional as F

from zsad.errors import InputError
from zsad_train.losses import dice_loss, focal_loss
from zsad_train.methods.anomalyclip_config import PRESETS, AnomalyClipConfig
from zsad_train.smoothing import UpsampleBlur

VARIANTS = [
    {},
    {"taps": (-1,), "deep_half": True},
    {"taps": (1, 3, 5), "vv_from_block": 3, "cls_ln_post": True},
    {"text_depth": 1, "context_length": 4},
]


def probabilities(x, text, tau=0.07):
    """Return the abnormal probability, written as the two-class softmax of the paper."""
    return (F.cosine_similarity(x[..., None, :], text, dim=-1) / tau).softmax(dim=-1)[..., 1]


def test_the_two_templates_differ_in_words_and_context_and_share_deep_tokens(make_anomalyclip):
    method = make_anomalyclip()
    assert method.normal.deep is method.abnormal.deep
    assert method.normal.deep.shape == (2, 4, 24)  # three of four text blocks, less the first
    assert not torch.equal(method.normal.context, method.abnormal.context)
    assert method.normal.eot.item() == 1 + 6 + 2  # start, context, "object", "."
    assert method.abnormal.eot.item() == 1 + 6 + 3


def test_the_class_names_do_not_reach_the_text(moved_anomalyclip):
    method = moved_anomalyclip()
    assert sorted(name for name, _ in method.named_parameters() if "backbone" not in name) == [
        "abnormal.context",
        "abnormal.own",
        "normal.context",
        "normal.deep",
        "normal.own",
    ]
    assert method.state_text().shape == (2, 16)


def test_learned_tokens_that_equal_words_give_clips_own_embedding(make_anomalyclip, backbone):
    method = make_anomalyclip(context_length=4, text_depth=1)
    token_ids = backbone.tokenize(["a photo of a object.", "a photo of a damaged object."])
    with torch.no_grad():
        for learner in (method.normal, method.abnormal):
            learner.context.copy_(backbone.text.embed(token_ids)[0, 1:5])
    torch.testing.assert_close(method.state_text(), backbone.text.encode(token_ids))


def test_the_terms_are_those_of_section_3_3(moved_anomalyclip, batch):
    method = moved_anomalyclip(taps=(1, -1), tau=0.1, focal_gamma=1.5, weight_local=3.0)
    text = method.state_text()
    features = method.backbone.vision(batch.images, taps=(1, 5), vv_from_block=0, cls_ln_post=False)
    local = 0
    for patches in features.patches:
        abnormal = probabilities(patches, text, 0.1).view(4, 1, 4, 4)
        full = F.interpolate(abnormal, size=(32, 32), mode="bilinear")[:, 0]
        local += focal_loss(full, batch.masks, 1.5)
        local += dice_loss(full, batch.masks) + dice_loss(1 - full, 1 - batch.masks)
    abnormal = probabilities(features.image, text, 0.1)
    terms = method.loss(batch)
    assert terms.keys() == {"global", "local"}
    torch.testing.assert_close(terms["local"], 3.0 * local)
    expected = -(1 - abnormal[:2]).log().sum() - abnormal[2:].log().sum()
    torch.testing.assert_close(terms["global"], expected / 4)


def test_images_without_pixel_labels_only_enter_the_global_loss(moved_anomalyclip, batch):
    method = moved_anomalyclip()
    unlabelled = batch._replace(has_mask=torch.zeros(4, dtype=torch.bool))
    terms = method.loss(unlabelled)
    assert terms["local"].item() == 0 and terms["local"].requires_grad
    assert torch.equal(terms["global"], method.loss(batch)["global"])


@pytest.mark.parametrize("options", VARIANTS)
def test_gradients_reach_every_prompt_token_and_nothing_else(moved_anomalyclip, batch, options):
    method = moved_anomalyclip(**options)
    sum(method.loss(batch).values()).backward()
    for name, parameter in method.named_parameters():
        if name.startswith("backbone."):
            assert not parameter.requires_grad and parameter.grad is None, name
        elif parameter.numel():
            assert parameter.grad.abs().sum() > 0, name


def test_no_graph_is_kept_of_the_vision_tower(moved_anomalyclip, batch):
    method = moved_anomalyclip()
    features = method.reading(method.backbone.vision, batch.images)
    assert not features.image.requires_grad
    assert not any(patches.requires_grad for patches in features.patches)


def test_every_trainable_parameter_is_optimised_once(make_anomalyclip):
    method = make_anomalyclip()
    (parameters,) = method.parameter_groups().values()
    trainable = {id(p) for p in method.parameters() if p.requires_grad}
    assert len(parameters) == len(trainable) and {id(p) for p in parameters} == trainable


def test_the_prediction_averages_the_taps_of_the_vv_stream(moved_anomalyclip, batch):
    method = moved_anomalyclip()
    text, prediction = method.state_text(), method(batch.images)
    features = method.backbone.vision(
        batch.images, taps=(0, 2, 3, 5), vv_from_block=0, cls_ln_post=False
    )
    torch.testing.assert_close(prediction.score, probabilities(features.image, text))
    torch.testing.assert_close(prediction.score_logit.sigmoid(), prediction.score)
    maps = [method.smooth(probabilities(p, text).view(4, 4, 4)) for p in features.patches]
    assert len(maps) == 4
    torch.testing.assert_close(prediction.anomaly_map, sum(maps) / 4)


def test_one_tap_gives_the_released_codes_map(moved_anomalyclip, batch):
    method = moved_anomalyclip(taps=(-1,), sigma=1 / 16)
    text = method.state_text()
    patches = method.reading(method.backbone.vision, batch.images).patches[0]
    abnormal = probabilities(patches, text).view(4, 1, 4, 4)
    full = F.interpolate(abnormal, size=(32, 32), mode="bilinear")[:, 0].detach().numpy()
    released = (full + 1 - (1 - full)) / 2
    gaussian_filter = pytest.importorskip("scipy.ndimage").gaussian_filter
    expected = np.stack([gaussian_filter(image, sigma=2.0) for image in released])
    found = method(batch.images).anomaly_map.detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_deep_tokens_can_be_rounded_with_their_gradient(moved_anomalyclip):
    rounded, exact = moved_anomalyclip(deep_half=True), moved_anomalyclip()
    difference = (rounded.state_text() - exact.state_text()).abs().max().item()
    assert 0 < difference < 1e-2
    with torch.no_grad():
        exact.normal.deep.copy_(exact.normal.deep.half())
    assert torch.equal(rounded.state_text(), exact.state_text())
    rounded.normal(rounded.backbone.text).sum().backward()
    gradient = rounded.normal.deep.grad
    assert gradient.abs().sum() > 0 and torch.equal(gradient, gradient.half().float())


def test_sigma_is_a_share_of_the_side(make_anomalyclip):
    impulse = torch.zeros(1, 4, 4)
    impulse[0, 1, 1] = 1
    expected = UpsampleBlur((4, 4), (32, 32), 1.6)(impulse)
    assert torch.equal(make_anomalyclip(sigma=0.05).smooth(impulse), expected)


@pytest.mark.parametrize(
    ("depth", "vv_from", "taps"),
    [(24, 5, (5, 11, 17, 23)), (12, 2, (2, 5, 8, 11)), (8, 1, (1, 3, 5, 7)), (3, 0, (0, 1, 2))],
)
def test_default_blocks_are_the_papers_at_any_depth(depth, vv_from, taps):
    reading = AnomalyClipConfig().reading_for(depth)
    assert (reading.vv_from_block, reading.taps) == (vv_from, taps)


def test_the_presets_are_the_paper_and_the_released_code():
    paper, released = PRESETS["anomalyclip"], PRESETS["anomalyclip-released"]
    assert (paper.context_length, paper.deep_length, paper.depth_for(12)) == (12, 4, 9)
    assert paper.taps is None and paper.weight_local == 1
    assert released.reading_for(24).taps == (-1,) and released.weight_local == 4


def test_two_contexts_and_the_deep_sets_are_all_there_is_to_learn(make_anomalyclip):
    method = make_anomalyclip(context_length=12)
    trainable = sum(p.numel() for p in method.parameters() if p.requires_grad)
    assert trainable == (2 * 12 + 2 * 4) * 24


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_depth": 5}, r"anomalyclip: text_depth 5 is not in 1..4"),
        ({"taps": (6,)}, r"block 6 does not exist"),
        ({"taps": (-1, 5)}, "repeats a block"),
        ({"taps": ()}, "taps is empty"),
        ({"vv_from_block": -7}, r"block -7 does not exist"),
        ({"context_length": 0}, "context_length must be positive"),
        ({"deep_length": 7}, r"deep_length 7 is not in 1..6"),
        ({"tau": 0.0}, "tau must be positive"),
        ({"sigma": -1.0}, "sigma must not be negative"),
        ({"weight_local": -1.0}, "weight_local must not be negative"),
    ],
)
def test_options_that_do_not_fit_are_refused(make_anomalyclip, options, message):
    with pytest.raises(InputError, match=message):
        make_anomalyclip(**options)


@pytest.mark.parametrize("options", VARIANTS)
def test_baked_equals_unbaked(moved_anomalyclip, batch, assert_same, options):
    method = moved_anomalyclip(**options)
    assert_same(method.bake()(batch.images), method(batch.images))


def test_baked_shares_nothing_with_the_method_and_holds_no_text_tower(
    moved_anomalyclip, batch, assert_same
):
    method = moved_anomalyclip()
    expected = method(batch.images)
    baked = method.bake()
    assert not any(parameter.requires_grad for parameter in baked.parameters())
    assert {name for name, _ in baked.named_children()} == {"vision", "smooth", "head"}
    half = baked.half()(batch.images)
    assert {tensor.dtype for tensor in half} == {torch.float32}
    assert_same(half, expected, tolerance=2e-2)
    assert_same(method(batch.images), expected, tolerance=0)


def test_the_exported_graph_matches_at_other_batch_sizes(moved_anomalyclip, batch, run_exported):
    baked = moved_anomalyclip().bake()
    run = run_exported(baked, batch.images[:2])
    for images in (batch.images[:1], batch.images[:3]):
        for array, tensor in zip(run(images), baked(images), strict=True):
            np.testing.assert_allclose(array, tensor.numpy(), atol=1e-5)
