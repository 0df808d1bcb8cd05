import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from zsad.errors import InputError
from zsad_train.checkpoint import build_method, load_checkpoint, save_checkpoint
from zsad_train.config import TrainConfig
from zsad_train.loop import fit
from zsad_train.losses import pairwise_cosine, segmentation_loss
from zsad_train.methods.faprompt_config import PRESETS, FaPromptConfig
from zsad_train.smoothing import UpsampleBlur

RELEASED = dataclasses.asdict(PRESETS["faprompt-released"])
VARIANTS = [
    {},
    RELEASED,
    {"abnormal_prompts": 3, "own_length": 1, "patches": 4, "vv_from_block": -2},
    {"text_depth": 1, "cls_ln_post": True, "prior_ratio": 3},
]


def abnormal_probability(x, text, tau=0.07):
    """Return the softmax over [normal, abnormal] of one vector or more, written out."""
    cosines = torch.stack([F.cosine_similarity(x, state, dim=-1) for state in text], dim=-1)
    return (cosines / tau).softmax(dim=-1)[..., 1]


def naive_prediction(method, images):
    """Score images one by one from the definitions, all text through the whole tower."""
    config, backbone = method.config, method.backbone
    filler = " ".join("X" * (config.context_length + config.own_length))
    normal_filler = " ".join("X" * config.context_length)
    ids = backbone.tokenize([f"{filler} {config.abnormal_words}."] * config.abnormal_prompts)
    normal_ids = backbone.tokenize([f"{normal_filler} {config.normal_words}."])

    def encode(ids, own):
        tokens = backbone.text.embed(ids).clone()
        tokens[:, 1 : 1 + config.context_length] = method.normal.context
        begin = 1 + config.context_length
        if own is not None:
            tokens[:, begin : begin + config.own_length] = own
        deep = method.normal.deep
        deep = deep.half().float() if config.deep_half else deep
        return naive_tower(backbone.text, tokens, ids.argmax(dim=-1), deep)

    normal = encode(normal_ids, None)[0]
    first = torch.stack([normal, encode(ids, method.abnormal.own).mean(dim=0)])
    scores, grids = [], []
    for image in images:
        features = method.reading(backbone.vision, image[None])
        patches, cls_token = features.patches[0][0], features.image[0]
        before = abnormal_probability(patches, first)
        order = before.argsort(descending=True) if config.patch_selection == "topk" else range(16)
        chosen = torch.cat([F.normalize(patches[i], dim=0) for i in list(order)[: config.patches]])
        shift = method.prior.network(chosen)
        second = torch.stack([normal, encode(ids, method.abnormal.own + shift).mean(dim=0)])
        after = abnormal_probability(patches, second)
        highest = config.weight_max * before.max() + config.weight_adapted_max * after.max()
        highest = highest / (config.weight_max + config.weight_adapted_max)
        scores.append((abnormal_probability(cls_token, second) + highest) / 2)
        grids.append(((before + 1 - (1 - before) + after + 1 - (1 - after)) / 4).view(4, 4))
    return torch.stack(scores), method.smooth(torch.stack(grids))


def naive_tower(text, tokens, eot, deep):
    """All 77 tokens through CLIP's own blocks and an explicit mask."""
    x = tokens + text.positional_embedding
    mask = torch.full((77, 77), float("-inf")).triu(1)
    for index, block in enumerate(text.blocks):
        if 0 < index <= len(deep):
            rows = deep[index - 1].expand(len(x), -1, -1)
            x = torch.cat([x[:, :1], rows, x[:, 1 + rows.shape[1] :]], dim=1)
        h = block.ln_1(x)
        x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
        x = x + block.mlp(block.ln_2(x))
    return text.ln_final(x)[torch.arange(len(x)), eot] @ text.text_projection


def test_prompts_are_compounds_of_one_context(make_faprompt):
    method = make_faprompt()
    assert method.abnormal.context is method.normal.context
    assert method.abnormal.deep is method.normal.deep
    assert method.normal.deep.shape == (2, 4, 24)  # three of four text blocks, less the first
    assert method.abnormal.own.shape == (10, 2, 24)
    assert method.normal.eot.tolist() == [1 + 5 + 2]  # start, context, "object", "."
    assert method.abnormal.eot.tolist() == [1 + 5 + 2 + 2] * 10
    assert make_faprompt(**RELEASED).abnormal.eot.tolist() == [1 + 5 + 2 + 3] * 10


def test_the_prototype_is_the_mean_before_normalisation(moved_faprompt):
    method = moved_faprompt(abnormal_prompts=3)
    text, prompts = method.state_text()
    assert prompts.shape == (3, 16)
    torch.testing.assert_close(text[1], prompts.sum(dim=0) / 3)
    torch.testing.assert_close(text[0], method.normal(method.backbone.text)[0])


def test_a_shift_is_added_to_every_own_token_and_to_nothing_else(moved_faprompt):
    method = moved_faprompt()
    shift = torch.randn(2, 24)
    plain, shifted = method.abnormal.embeddings(), method.abnormal.embeddings(shift)
    assert shifted.shape == (2, *plain.shape)
    for image in range(2):
        difference = shifted[image] - plain
        torch.testing.assert_close(difference[:, 6:8], shift[image].expand(10, 2, -1))
        assert not difference[:, :6].any() and not difference[:, 8:].any()
    adapted = method.adapted_text(method.state_text()[0][0], torch.zeros(2, 24))
    torch.testing.assert_close(adapted, method.state_text()[0].expand(2, -1, -1))


@pytest.mark.parametrize("options", VARIANTS)
def test_the_prediction_is_the_naive_one(moved_faprompt, batch, options):
    method = moved_faprompt(**options)
    with torch.no_grad():
        prediction = method(batch.images)
        score, anomaly_map = naive_prediction(method, batch.images)
    torch.testing.assert_close(prediction.score, score, atol=1e-5, rtol=0)
    torch.testing.assert_close(prediction.anomaly_map, anomaly_map, atol=1e-5, rtol=0)
    torch.testing.assert_close(prediction.score_logit.sigmoid(), prediction.score)


@pytest.mark.parametrize("options", VARIANTS)
def test_an_image_is_judged_the_same_in_any_batch(moved_faprompt, batch, assert_same, options):
    method = moved_faprompt(**options)
    together = method(batch.images)
    for index in range(4):
        alone = method(batch.images[index : index + 1])
        assert_same(alone, type(alone)(*(tensor[index : index + 1] for tensor in together)))


def test_the_text_follows_the_image(moved_faprompt, batch):
    method = moved_faprompt()
    text, _ = method.state_text()
    _, shift = method._logits(method.look(batch), text, adapt=True)
    adapted = method.adapted_text(text[0], shift)
    assert torch.equal(adapted[:, 0], text[0].expand(4, -1))
    assert not torch.allclose(adapted[0, 1], adapted[1, 1], atol=1e-3)


def test_the_terms_are_those_of_section_3_5(moved_faprompt, batch):
    method = moved_faprompt(
        tau=0.1, focal_gamma=1.5, weight_adapted_maps=0.3, weight_cross_entropy=0.7,
        weight_orthogonality=0.2, weight_prior=2.0, weight_max=3.0,
    )  # fmt: skip
    text, prompts = method.state_text()
    features = method.reading(method.backbone.vision, batch.images)
    patches = features.patches[0]
    before = abnormal_probability(patches, text, 0.1)
    shift = method.prior(patches, before)
    adapted = method.adapted_text(text[0], shift)
    pairs = list(zip(patches, adapted, strict=True))
    after = torch.stack([abnormal_probability(p, t, 0.1) for p, t in pairs])
    image = torch.stack(
        [abnormal_probability(f, t, 0.1) for f, t in zip(features.image, adapted, strict=True)]
    )
    score = image / 2 + (3 * before.max(dim=1).values + after.max(dim=1).values) / 8
    p_true = torch.cat([1 - score[:2], score[2:]])
    image_true = torch.cat([1 - image[:2], image[2:]])
    expected = {
        "maps": segmentation_loss(upsampled(before), batch.masks, 1.5),
        "adapted_maps": 0.3 * segmentation_loss(upsampled(after), batch.masks, 1.5),
        "score": -((1 - p_true) ** 1.5 * p_true.log()).mean(),
        "orthogonality": 0.2 * pairwise_cosine(prompts),
        "prior": 2.0 * ((shift[0] ** 2).mean() + (shift[1] ** 2).mean()),
        "cross_entropy": -0.7 * image_true.log().mean(),
    }
    terms = method.loss(batch)
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)


def upsampled(probabilities):
    return F.interpolate(probabilities.view(4, 1, 4, 4), size=(32, 32), mode="bilinear")[:, 0]


def test_the_paper_has_no_cross_entropy(moved_faprompt, batch):
    assert "cross_entropy" not in moved_faprompt().loss(batch)


def test_a_score_can_be_taken_for_a_logit(moved_faprompt, batch):
    paper, released = moved_faprompt(), moved_faprompt(score_as_logit=True)
    score = paper(batch.images).score
    chance = score.sigmoid()
    p_true = torch.cat([1 - chance[:2], chance[2:]])
    expected = -((1 - p_true) ** 2 * p_true.log()).mean()
    torch.testing.assert_close(released.loss(batch)["score"], expected)
    assert abs(paper.loss(batch)["score"] - expected) > 1e-3


def test_the_prior_of_defective_images_costs_nothing(moved_faprompt, batch):
    method = moved_faprompt()
    defective = batch._replace(labels=torch.ones(4, dtype=torch.int64))
    assert method.loss(defective)["prior"].item() == 0


def test_images_without_pixel_labels_do_not_enter_the_map_losses(moved_faprompt, batch):
    method = moved_faprompt()
    terms = method.loss(batch._replace(has_mask=torch.zeros(4, dtype=torch.bool)))
    for name in ("maps", "adapted_maps"):
        assert terms[name].item() == 0 and terms[name].requires_grad
    torch.testing.assert_close(terms["score"], method.loss(batch)["score"])


@pytest.mark.parametrize("options", VARIANTS)
def test_gradients_reach_every_learned_tensor_and_nothing_else(moved_faprompt, batch, options):
    method = moved_faprompt(**options)
    sum(method.loss(batch).values()).backward()
    for name, parameter in method.named_parameters():
        if name.startswith("backbone."):
            assert not parameter.requires_grad and parameter.grad is None, name
        elif parameter.numel():
            assert parameter.grad.abs().sum() > 0, name


def test_no_graph_is_kept_of_the_vision_tower(moved_faprompt, batch):
    method = moved_faprompt()
    features = method.reading(method.backbone.vision, batch.images)
    assert not features.image.requires_grad and not features.patches[0].requires_grad


def test_every_trainable_parameter_is_optimised_once(make_faprompt):
    method = make_faprompt()
    (parameters,) = method.parameter_groups().values()
    trainable = {id(p) for p in method.parameters() if p.requires_grad}
    assert len(parameters) == len(trainable) and {id(p) for p in parameters} == trainable


def test_training_lowers_the_loss(make_faprompt, squares, tmp_path):
    config = TrainConfig(epochs=4, batch_size=4, lr_prompts=1e-2, device="cpu")
    records = fit(make_faprompt(), squares(), config, tmp_path / "faprompt.pt")
    assert records[-1].loss["total"] < 0.9 * records[0].loss["total"]


def test_a_checkpoint_holds_what_was_trained(moved_faprompt, batch, assert_same, tmp_path):
    method = moved_faprompt(**RELEASED)
    save_checkpoint(tmp_path / "faprompt.pt", method, {})
    again = build_method(load_checkpoint(tmp_path / "faprompt.pt"))
    assert again.config == PRESETS["faprompt-released"]
    assert_same(again(batch.images), method(batch.images), tolerance=0)


def test_the_presets_are_the_paper_and_the_released_code():
    paper, released = PRESETS["faprompt"], PRESETS["faprompt-released"]
    changed = {n for n, v in dataclasses.asdict(paper).items() if RELEASED[n] != v}
    assert changed == {
        "abnormal_words", "deep_half", "patch_selection", "weight_adapted_maps",
        "weight_cross_entropy", "score_as_logit", "weight_max",
    }  # fmt: skip
    for preset in (paper, released):
        assert (preset.context_length, preset.own_length, preset.abnormal_prompts) == (5, 2, 10)
        assert (preset.patches, preset.deep_length, preset.depth_for(12)) == (10, 4, 9)
        assert preset.reading_for(24).vv_from_block == 5 and preset.reading_for(24).taps == (-1,)
        assert preset.sigma * 518 == pytest.approx(10)


@pytest.mark.parametrize(("weights", "score"), [((1.0, 1.0), 0.55), ((2.0, 1.0), 0.5)])
def test_the_score_fuses_the_image_with_the_highest_patches(make_faprompt, weights, score):
    """Probabilities 0.4 of the image, 0.6 and 0.8 of patches: 0.2 + 0.35, and 0.2 + 2/6."""
    from zsad_train.methods.faprompt import Logits

    config = FaPromptConfig(weight_max=weights[0], weight_adapted_max=weights[1])
    patches = torch.tensor([[0.6, 0.1]]).logit()
    adapted = torch.tensor([[0.3, 0.8]]).logit()
    logits = Logits(torch.tensor([0.4]).logit(), patches, adapted)
    found, logit = logits.score(config.score_weights)
    expected = {0.55: 0.2 + 0.35, 0.5: 0.2 + (2 * 0.6 + 0.8) / 6}[score]
    assert found.item() == pytest.approx(expected)
    assert logit.item() == pytest.approx(math.log(expected / (1 - expected)), abs=1e-5)
    grid = logits.grid((1, 2))
    torch.testing.assert_close(grid, torch.tensor([[[0.45, 0.45]]]))


@pytest.mark.parametrize(
    "options",
    [
        {"patch_selection": "first"},
        {"cls_ln_post": True},
        {"sigma": 4 / 518},
        {"weight_max": 2.0},
        {"deep_half": True},
        {"abnormal_words": "damaged object"},
    ],
    ids=str,
)
def test_what_differs_between_paper_and_code_shows(moved_faprompt, batch, options):
    paper, other = moved_faprompt(), moved_faprompt(**options)
    other.load_state_dict(paper.state_dict())
    with torch.no_grad():
        pairs = zip(paper(batch.images), other(batch.images), strict=True)
        assert any((a - b).abs().max() > 1e-6 for a, b in pairs)


def test_sigma_is_a_share_of_the_side(make_faprompt):
    impulse = torch.zeros(1, 4, 4)
    impulse[0, 1, 1] = 1
    expected = UpsampleBlur((4, 4), (32, 32), 1.6)(impulse)
    assert torch.equal(make_faprompt(sigma=0.05).smooth(impulse), expected)


def test_the_map_is_the_released_codes(moved_faprompt, batch):
    method = moved_faprompt(**{**RELEASED, "sigma": 1 / 16})
    gaussian_filter = pytest.importorskip("scipy.ndimage").gaussian_filter
    with torch.no_grad():
        text, _ = method.state_text()
        logits, _ = method._logits(method.look(batch), text, adapt=True)
        maps = [upsampled(part.sigmoid()).numpy() for part in (logits.patches, logits.adapted)]
        found = method(batch.images).anomaly_map.numpy()
    summed = sum(m + 1 - (1 - m) for m in maps) / 4
    expected = np.stack([gaussian_filter(image, sigma=2.0) for image in summed])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_depth": 5}, r"faprompt: text_depth 5 is not in 1..4"),
        ({"vv_from_block": -7}, r"block -7 does not exist"),
        ({"patches": 17}, r"an image of 16 patches has no 17 to choose"),
        ({"patch_selection": "best"}, "patch_selection 'best' is not one of topk, first"),
        ({"dap": "none"}, "dap 'none' is not one of exact, baked"),
        ({"abnormal_prompts": 0}, "abnormal_prompts must be positive"),
        ({"own_length": 0}, "own_length must be positive"),
        ({"deep_length": 6}, r"deep_length 6 is not in 1..5"),
        ({"tau": 0.0}, "tau must be positive"),
        ({"sigma": -1.0}, "sigma must not be negative"),
        ({"weight_prior": -1.0}, "weight_prior must not be negative"),
        ({"weight_max": 0.0, "weight_adapted_max": 0.0}, "are both 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(make_faprompt, options, message):
    with pytest.raises(InputError, match=message):
        make_faprompt(**options)
