import pytest
import torch
import torch.nn.functional as F

from zsad.errors import InputError
from zsad_train.losses import pairwise_cosine, segmentation_loss
from zsad_train.methods.base import TrainingWords
from zsad_train.methods.dive_config import PRESETS, DiveConfig
from zsad_train.smoothing import UpsampleBlur

VARIANTS = [
    {},
    {"abnormal_prompts": 3},
    {"vv_from_block": 2},
    {"abnormal_prompts": 3, "vv_from_block": -2, "cls_ln_post": False, "ca_pre_norm": False},
]


def logits(x, text, tau=0.07):
    return F.cosine_similarity(x[..., None, :], text, dim=-1) / tau


def test_the_terms_are_those_of_section_4_4(moved, batch):
    dive = moved(
        tau=0.1,
        focal_gamma=1.5,
        weight_semantic=0.5,
        weight_disentangle=0.25,
        weight_prompt_norm=3.0,
    )
    text, _ = dive.state_text()
    prompts = dive.coupling(dive.semantic.context[:2])
    features = dive.see(batch.images, prompts)
    g = features.image
    state_offset, semantic_offset = dive.state_branch(g), dive.semantic_branch(g)
    classes = dive.semantic(dive.backbone.text)

    state = logits(g + state_offset, text, 0.1).log_softmax(dim=-1)
    semantic = logits(g + semantic_offset, classes, 0.1).log_softmax(dim=-1)
    cosine = F.cosine_similarity(state_offset, semantic_offset)
    abnormal = logits(features.patches[0], text, 0.1).softmax(dim=-1)[..., 1]
    full = F.interpolate(abnormal.view(4, 1, 4, 4), size=(32, 32), mode="bilinear")[:, 0]
    expected = {
        "state": -(state[0, 0] + state[1, 0] + state[2, 1] + state[3, 1]) / 4,
        "segmentation": segmentation_loss(full, batch.masks, 1.5),
        "semantic": -0.5 * (semantic[0, 0] + semantic[1, 1] + semantic[2, 0] + semantic[3, 1]) / 4,
        "disentangle": 0.25 * (cosine**2).mean(),
        "prompt_norm": 3.0 * (prompts**2).sum() / prompts.numel(),
    }
    terms = dive.loss(batch)
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)


def test_compound_prompts_add_faprompts_orthogonality(moved, batch):
    dive = moved(abnormal_prompts=3, weight_orthogonality=0.2)
    _, abnormal = dive.state_text()
    term = dive.loss(batch)["orthogonality"]
    torch.testing.assert_close(term, 0.2 * pairwise_cosine(abnormal))


def test_the_prototype_is_the_mean_before_normalisation(moved):
    dive = moved(abnormal_prompts=3)
    text, abnormal = dive.state_text()
    assert abnormal.shape == (3, 16)
    torch.testing.assert_close(text[1], abnormal.sum(dim=0) / 3)
    torch.testing.assert_close(text[0], dive.normal(dive.backbone.text)[0])


def test_compound_prompts_share_the_normal_context(make_dive):
    compound, paper = make_dive(abnormal_prompts=3), make_dive()
    assert compound.abnormal.context is compound.normal.context
    assert paper.abnormal.context is not paper.normal.context


@pytest.mark.parametrize("options", VARIANTS)
def test_gradients_reach_every_trainable_parameter_and_no_frozen_one(moved, batch, options):
    dive = moved(**options)
    sum(dive.loss(batch).values()).backward()
    for name, parameter in dive.named_parameters():
        if name.startswith("backbone."):
            assert not parameter.requires_grad and parameter.grad is None, name
        elif parameter.numel():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_every_trainable_parameter_has_one_learning_rate(make_dive):
    dive = make_dive(abnormal_prompts=2)
    grouped = [id(p) for group in dive.parameter_groups().values() for p in group]
    trainable = {id(p) for p in dive.parameters() if p.requires_grad}
    assert len(grouped) == len(set(grouped)) and set(grouped) == trainable


def test_each_loss_reaches_its_own_branch_only(moved, batch):
    dive = moved()
    dive.loss(batch)["semantic"].backward()
    assert dive.state_branch[0].weight.grad is None
    assert dive.normal.context.grad is None
    assert dive.semantic_branch[0].weight.grad.abs().sum() > 0


def test_a_batch_without_pixel_labels_has_no_segmentation_loss(moved, batch):
    term = moved().loss(batch._replace(has_mask=torch.zeros(4, dtype=torch.bool)))["segmentation"]
    assert term.item() == 0 and term.requires_grad


def test_images_without_pixel_labels_do_not_enter_the_segmentation_loss(moved, batch):
    dive = moved()
    partial = batch._replace(has_mask=torch.tensor([True, True, True, False]))
    other = partial._replace(masks=torch.cat([batch.masks[:3], 1 - batch.masks[3:]]))
    assert torch.equal(dive.loss(partial)["segmentation"], dive.loss(other)["segmentation"])
    assert not torch.equal(dive.loss(partial)["segmentation"], dive.loss(batch)["segmentation"])


def test_injection_after_a_block_leaves_cls_for_the_next_block(moved, batch):
    after_last, nowhere = moved(ca_after_blocks=(-1,)), moved(ca_after_blocks=())
    nowhere.load_state_dict(after_last.state_dict(), strict=False)
    prompts = after_last.visual_prompts()
    with_injection = after_last.see(batch.images, prompts)
    without = nowhere.see(batch.images, prompts)
    assert torch.equal(with_injection.image, without.image)
    assert not torch.allclose(with_injection.patches[0], without.patches[0])

    before_last = moved(ca_after_blocks=(-2,)).see(batch.images, prompts)
    assert not torch.allclose(before_last.image, without.image)


def test_visual_prompts_are_the_first_semantic_tokens(moved):
    dive = moved(visual_prompts=3)
    before = dive.visual_prompts()
    with torch.no_grad():
        dive.semantic.context[3] += 1
    assert before.shape == (3, 32) and torch.equal(dive.visual_prompts(), before)
    with torch.no_grad():
        dive.semantic.context[2] += 1
    assert not torch.allclose(dive.visual_prompts()[2], before[2])


def test_visual_prompts_change_what_is_seen(moved, batch):
    dive = moved()
    prompts = dive.visual_prompts()
    features = dive.see(batch.images, prompts)
    other = dive.see(batch.images, prompts.flip(1))
    assert not torch.allclose(features.image, other.image)


def test_the_bank_holds_one_unit_row_per_sentence(make_dive, backbone, words):
    bank = make_dive().bank
    raw = make_dive(bank_normalised=False).bank
    assert bank.shape == (3, 16)
    torch.testing.assert_close(bank.norm(dim=-1), torch.ones(3))
    sentence = backbone.text.encode(backbone.tokenize([words.normal[0]]))
    torch.testing.assert_close(raw[2:], sentence)


def test_the_prediction_is_equation_6(moved, batch):
    dive = moved()
    prediction = dive(batch.images)
    text, _ = dive.state_text()
    features = dive.see(batch.images, dive.visual_prompts())
    state = features.image + dive.state_branch(features.image)
    torch.testing.assert_close(prediction.score, logits(state, text).softmax(dim=-1)[:, 1])
    torch.testing.assert_close(prediction.score_logit.sigmoid(), prediction.score)
    abnormal = logits(features.patches[0], text).softmax(dim=-1)[..., 1]
    smoothed = dive.smooth(abnormal.view(4, 4, 4))
    torch.testing.assert_close(prediction.anomaly_map, smoothed.clamp(0, 1))


def test_sigma_is_a_share_of_the_side(make_dive):
    dive = make_dive(sigma=0.05)
    impulse = torch.zeros(1, 4, 4)
    impulse[0, 1, 1] = 1
    narrow = make_dive(sigma=0.0).smooth(impulse)
    assert torch.equal(dive.smooth(impulse), UpsampleBlur((4, 4), (32, 32), 1.6)(impulse))
    assert torch.equal(
        narrow[:, None], F.interpolate(impulse[:, None], size=(32, 32), mode="bilinear")
    )


def test_vv_changes_the_map_but_not_the_score(moved, batch):
    plain, vv = moved()(batch.images), moved(vv_from_block=2)(batch.images)
    torch.testing.assert_close(plain.score, vv.score)
    assert not torch.allclose(plain.anomaly_map, vv.anomaly_map)


def test_class_names_are_read_as_words(make_dive):
    spaced = TrainingWords(("metal plate", "wooden board"), ("a",), ("b",))
    assert torch.equal(make_dive().semantic.suffix, make_dive(spaced).semantic.suffix)


@pytest.mark.parametrize(("blocks", "depth"), [(12, 9), (4, 3), (8, 6), (1, 1)])
def test_default_depth_is_three_quarters_of_the_tower(blocks, depth):
    assert DiveConfig().depth_for(blocks) == depth


@pytest.mark.parametrize(("width", "head_width"), [(1024, 64), (128, 8), (4, 1)])
def test_default_heads_are_together_half_as_wide_as_the_tower(width, head_width):
    assert DiveConfig().head_width_for(width) == head_width
    assert DiveConfig(ca_head_width=5).head_width_for(width) == 5


def test_depth_counts_the_context_as_the_first_set(make_dive):
    assert make_dive(text_depth=1).normal.deep.shape == (0, 4, 24)
    assert make_dive(text_depth=4, deep_length=2).normal.deep.shape == (3, 2, 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_depth": 5}, r"text_depth 5 is not in 1..4"),
        ({"ca_after_blocks": (6,)}, r"block 6 does not exist"),
        ({"vv_from_block": -7}, r"block -7 does not exist"),
        ({"ca_after_blocks": (1, 1)}, "repeats a block"),
        ({"ca_after_blocks": (-1, 5)}, "repeats a block"),
        ({"visual_prompts": 5}, r"visual_prompts 5 is not in 1..4"),
        ({"deep_length": 0}, r"deep_length 0 is not in 1..4"),
        ({"tau": 0.0}, "tau must be positive"),
        ({"ca_head_width": 0}, "ca_head_width must be positive"),
        ({"weight_semantic": -1.0}, "weight_semantic must not be negative"),
        ({"abnormal_prompts": 0}, "abnormal_prompts must be positive"),
        ({"sigma": -1.0}, "sigma must not be negative"),
    ],
)
def test_options_that_do_not_fit_are_refused(make_dive, options, message):
    with pytest.raises(InputError, match=message):
        make_dive(**options)


def test_the_paper_preset_has_none_of_the_products_options():
    paper = PRESETS["dive-paper"]
    assert paper.abnormal_prompts == 1 and paper.vv_from_block is None
