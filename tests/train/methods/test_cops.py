import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from zsad.errors import InputError
from zsad_train.checkpoint import build_method, load_checkpoint, save_checkpoint
from zsad_train.config import TrainConfig
from zsad_train.loop import fit
from zsad_train.losses import segmentation_loss
from zsad_train.methods.base import TrainingWords
from zsad_train.methods.cops import Cops
from zsad_train.methods.cops_config import PRESETS, CopsConfig
from zsad_train.neighbours import average_neighbours
from zsad_train.prototypes import Prototypes, prototype_distances
from zsad_train.smoothing import UpsampleBlur

RELEASED = dataclasses.asdict(PRESETS["cops-released"])
VARIANTS = [
    {},
    RELEASED,
    {"prototypes": 2, "class_tokens": 3, "prompt_length": 9, "samples": 3, "train_window": 3},
    {"text_depth": 1, "cls_ln_post": True, "reconstruction": "pairs", "upsampling": "bilinear"},
]


def whole_texts(method, prototypes, samples):
    """Return [normal, abnormal] of one image, every prompt through the tower as 77 tokens."""
    config, backbone = method.config, method.backbone
    ids = backbone.tokenize([" ".join("X" * config.prompt_length) + "."])
    deep = method.normal.deep
    deep = deep.half().float() if config.deep_half else deep
    means = []
    for state, learner in enumerate((method.normal, method.abnormal)):
        found = prototypes[1 - state if config.swap_prototypes else state]  # (M, width)
        units = []
        for sample in samples:
            tokens = backbone.text.embed(ids)[0].clone()
            begin = 1 + config.context_length
            tokens[1:begin] = learner.context
            tokens[begin : begin + config.state_length] = learner.own[0]
            tokens[begin : begin + config.prototypes] += found
            tokens[begin + config.prototypes : begin + config.state_length] += sample
            units.append(F.normalize(naive_tower(backbone.text, tokens, ids.argmax(), deep), dim=0))
        means.append(torch.stack(units).mean(dim=0))
    return torch.stack(means)


def naive_tower(text, tokens, eot, deep):
    """All 77 tokens through CLIP's own blocks and an explicit mask."""
    x = (tokens + text.positional_embedding)[None]
    mask = torch.full((77, 77), float("-inf")).triu(1)
    for index, block in enumerate(text.blocks):
        if 0 < index <= len(deep):
            rows = deep[index - 1][None]
            x = torch.cat([x[:, :1], rows, x[:, 1 + rows.shape[1] :]], dim=1)
        h = block.ln_1(x)
        x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
        x = x + block.mlp(block.ln_2(x))
    return text.ln_final(x)[0, eot] @ text.text_projection


def test_a_prompt_is_context_state_class_and_a_full_stop(make_cops):
    method = make_cops()
    assert method.normal.context.shape == method.abnormal.context.shape == (6, 24)
    assert method.normal.own.shape == method.abnormal.own.shape == (1, 8, 24)
    assert method.abnormal.deep is method.normal.deep
    assert method.normal.deep.shape == (2, 4, 24)  # three of four text blocks, less the first
    assert method.normal.eot.tolist() == method.abnormal.eot.tolist() == [16]
    stop = method.backbone.text.embed(method.backbone.tokenize(["."]))[0, 1:3]
    assert torch.equal(method.normal.suffix[0], stop)


@pytest.mark.parametrize("options", VARIANTS)
@torch.no_grad()
def test_the_text_is_that_of_whole_sequences(moved_cops, batch, options):
    method = moved_cops(**options)
    samples = method.classes.prior()
    prototypes = method.prototypes(method.averaged(method.look(batch), 5)[1])
    found = method.image_text(prototypes, samples[None])
    states = prototypes[::-1] if method.config.swap_prototypes else prototypes
    shifted = method.bake().prompts(torch.stack(states, dim=1))
    for image in range(4):
        expected = whole_texts(method, [state[image] for state in prototypes], samples)
        torch.testing.assert_close(found[image], expected, atol=1e-5, rtol=0)
        baked = F.normalize(shifted[image], dim=-1).mean(dim=1)
        torch.testing.assert_close(baked, expected, atol=1e-5, rtol=0)
    assert (found[0] - found[1]).abs().max() > 1e-2  # it follows the image


@torch.no_grad()
def test_each_state_gets_its_own_prototypes_unless_swapped(moved_cops):
    prototypes, samples = Prototypes(*torch.randn(2, 1, 6, 24)), torch.zeros(1, 1, 24)
    other = prototypes._replace(normal=torch.randn(1, 6, 24))
    paper, released = moved_cops(), moved_cops(swap_prototypes=True)
    for method, changed in ((paper, 0), (released, 1)):
        before, after = (method.image_text(p, samples)[0] for p in (prototypes, other))
        assert not torch.allclose(before[changed], after[changed], atol=1e-3)
        torch.testing.assert_close(before[1 - changed], after[1 - changed])


@pytest.mark.parametrize("options", VARIANTS)
def test_an_image_is_judged_the_same_in_any_batch(moved_cops, batch, assert_same, options):
    method = moved_cops(**options)
    together = method(batch.images)
    for index in range(4):
        alone = method(batch.images[index : index + 1])
        assert_same(alone, type(alone)(*(tensor[index : index + 1] for tensor in together)))


def test_patches_are_averaged_with_zeros_beyond_the_border():
    patches = torch.tensor([1.0, 2, 4, 8, 16, 32]).view(1, 6, 1).expand(-1, -1, 2)
    found = average_neighbours(patches, (2, 3), 3)
    corner, middle = (1 + 2 + 8 + 16) / 9, (1 + 2 + 4 + 8 + 16 + 32) / 9
    assert found[0, 0].tolist() == pytest.approx([corner, corner])
    assert found[0, 4].tolist() == pytest.approx([middle, middle])
    torch.testing.assert_close(average_neighbours(patches, (2, 3), 1), patches)


@pytest.mark.parametrize("options", VARIANTS)
def test_the_terms_are_those_of_the_definitions(moved_cops, batch, options):
    method = moved_cops(**{"tau": 0.1, "focal_gamma": 1.5, "weight_maps": 3.0, **options})
    config = method.config
    torch.manual_seed(3)
    terms = method.loss(batch)
    torch.manual_seed(3)
    image, patches = method.averaged(method.look(batch), config.train_window)
    sample, prototypes = method.classes(image), method.prototypes(patches)
    text = method.image_text(prototypes, sample.decoded[:, None])
    pairs = zip([*patches, *image[:, None]], [*text, *text], strict=True)
    cosines = [F.normalize(x, dim=-1) @ F.normalize(t, dim=-1).T for x, t in pairs]
    chances = [(c / config.tau).softmax(dim=-1)[:, 1] for c in cosines]
    maps = F.interpolate(
        torch.stack(chances[:4]).view(4, 1, 4, 4), size=(32, 32), mode=config.upsampling
    )[:, 0]
    truth = torch.cat([1 - chances[4], 1 - chances[5], chances[6], chances[7]])
    from_normal, from_anomalous = (prototype_distances(patches, p) for p in prototypes)
    anomalous = torch.zeros(4, 4, 4, dtype=torch.bool)
    anomalous[2, :2, :2] = anomalous[3, 1:, 1:] = True
    anomalous = anomalous.flatten(1)
    mean, log_variance = sample.mean, sample.log_variance
    expected = {
        "image": -truth.log().mean(),
        "maps": config.weight_maps * segmentation_loss(maps, batch.masks, config.focal_gamma),
        "gather": from_normal[~anomalous].mean(),
        "scatter": from_anomalous[anomalous].mean(),
        "divergence": torch.distributions.kl_divergence(
            torch.distributions.Normal(mean, (0.5 * log_variance).exp()),
            torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean)),
        ).sum(dim=1).mean(),
    }  # fmt: skip
    if config.weight_reconstruction:
        each = (image[:, None] - sample.decoded).square()
        own = torch.stack([each[index, index].sum() for index in range(4)]).mean()
        expected["reconstruction"] = each.mean() if config.reconstruction == "pairs" else own
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)


def test_only_the_centre_losses_teach_the_prototypes(moved_cops, batch):
    method = moved_cops()
    terms = method.loss(batch)
    centres = [terms.pop("gather"), terms.pop("scatter")]
    learned = list(method.prototypes.parameters())
    others = torch.autograd.grad(sum(terms.values()), learned, retain_graph=True, allow_unused=True)
    assert all(gradient is None for gradient in others)
    assert all(gradient.any() for gradient in torch.autograd.grad(sum(centres), learned))


def test_a_batch_without_defects_leaves_the_anomalous_queries_alone(moved_cops, batch):
    method = moved_cops()
    terms = method.loss(batch._replace(masks=torch.zeros(4, 32, 32)))
    assert terms["scatter"].item() == 0 and not terms["scatter"].requires_grad
    sum(terms.values()).backward()
    assert method.prototypes.anomalous.grad is None and method.prototypes.normal.grad.any()


def test_a_patch_is_anomalous_where_any_pixel_is(moved_cops, batch):
    method = moved_cops()
    masks = torch.zeros(4, 32, 32)
    masks[2, 7, 24] = 1  # the last pixel row of the first patch row, the fourth patch
    patches = method.averaged(method.look(batch), method.config.train_window)[1]
    expected = prototype_distances(patches, method.prototypes(patches).anomalous)[2, 3]
    torch.testing.assert_close(method.loss(batch._replace(masks=masks))["scatter"], expected)


def test_images_without_pixel_labels_do_not_enter_the_losses_of_patches(moved_cops, batch):
    method = moved_cops()
    known = torch.tensor([True, True, True, False])
    torch.manual_seed(0)
    found = method.loss(batch._replace(has_mask=known))
    torch.manual_seed(0)
    changed = batch.masks.clone()
    changed[3] = 0
    same = method.loss(batch._replace(has_mask=known, masks=changed))
    torch.manual_seed(0)
    full = method.loss(batch)
    for name in ("maps", "gather", "scatter"):
        assert torch.equal(found[name], same[name]) and not torch.equal(found[name], full[name])
    nothing = method.loss(batch._replace(has_mask=torch.zeros(4, dtype=torch.bool)))
    assert all(nothing[name].item() == 0 for name in ("maps", "gather", "scatter"))


def test_the_class_is_sampled_anew_in_training_and_never_at_inference(moved_cops, batch):
    method = moved_cops()
    first, second = method.loss(batch), method.loss(batch)
    assert not torch.equal(first["maps"], second["maps"])
    assert torch.equal(method(batch.images).score, method(batch.images).score)


def test_the_latents_follow_from_the_seed_alone(make_cops):
    first = make_cops().classes.latents
    torch.manual_seed(99)
    assert first.shape == (10, 24) and torch.equal(first, make_cops().classes.latents)
    assert not torch.equal(first, make_cops(latent_seed=1).classes.latents)


@pytest.mark.parametrize("options", [VARIANTS[0], VARIANTS[1]], ids=["cops", "cops-released"])
def test_gradients_reach_every_learned_tensor_and_nothing_else(moved_cops, batch, options):
    method = moved_cops(**options)
    sum(method.loss(batch).values()).backward()
    for name, parameter in method.named_parameters():
        if name.startswith("backbone."):
            assert not parameter.requires_grad and parameter.grad is None, name
        elif parameter.numel():
            assert parameter.grad.abs().sum() > 0, name


def test_every_trainable_parameter_is_optimised_once(make_cops):
    method = make_cops()
    (parameters,) = method.parameter_groups().values()
    trainable = {id(p) for p in method.parameters() if p.requires_grad}
    assert len(parameters) == len(trainable) and {id(p) for p in parameters} == trainable


def test_what_is_learned_starts_as_in_the_code(make_cops):
    method = make_cops()
    linears = [layer for part in (method.prototypes, method.classes) for layer in part.modules()
               if isinstance(layer, torch.nn.Linear)]  # fmt: skip
    assert len(linears) == 3 + 5
    for layer in linears:
        assert not layer.bias.any() and layer.weight.std().item() == pytest.approx(0.02, rel=0.2)
    bound = math.sqrt(6 / (24 + 3 * 24))  # PyTorch's own for attention
    assert 0.9 * bound < method.prototypes.attention.in_proj_weight.abs().max() <= bound
    assert method.prototypes.normal.std().item() == pytest.approx(0.02, rel=0.2)


def test_training_lowers_the_loss(make_cops, squares, tmp_path):
    config = TrainConfig(epochs=10, batch_size=4, lr_prompts=1e-2, device="cpu")
    records = fit(make_cops(), squares(), config, tmp_path / "cops.pt", val=squares(4))
    for name in ("total", "image", "maps", "gather", "scatter", "reconstruction"):
        assert records[-1].loss[name] < 0.9 * records[0].loss[name], name
    assert records[-1].val.keys() == {"image_auroc", "pixel_auroc"}


def test_a_checkpoint_holds_what_was_trained(moved_cops, batch, assert_same, tmp_path):
    method = moved_cops(**RELEASED)
    save_checkpoint(tmp_path / "cops.pt", method, {})
    again = build_method(load_checkpoint(tmp_path / "cops.pt"))
    assert again.config == PRESETS["cops-released"]
    assert_same(again(batch.images), method(batch.images), tolerance=0)


def test_the_presets_are_the_paper_and_the_released_code():
    paper, mvtec = PRESETS["cops"], dataclasses.asdict(PRESETS["cops-released-mvtec"])
    changed = {name for name, value in dataclasses.asdict(paper).items() if RELEASED[name] != value}
    assert changed == {"deep_half", "swap_prototypes", "reconstruction", "weight_reconstruction"}
    assert {name: (RELEASED[name], value) for name, value in mvtec.items()
            if RELEASED[name] != value} == {
        "weight_reconstruction": (0.0, 1.0), "train_window": (5, 3), "window": (5, 3),
        "distance_share": (0.26, 0.35), "image_share": (0.9, 1.0),
    }  # fmt: skip
    for preset in PRESETS.values():
        assert (preset.context_length, preset.prototypes, preset.class_tokens) == (6, 6, 2)
        assert (preset.deep_length, preset.depth_for(12), preset.samples) == (4, 9, 10)
        assert preset.reading_for(24).vv_from_block == 0 and preset.reading_for(24).taps == (-1,)
        assert preset.sigma * 518 == pytest.approx(4) and preset.upsampling == "nearest"
        assert (preset.heads_for(768), preset.heads_for(128), preset.heads_for(512)) == (12, 8, 8)


@pytest.mark.parametrize(
    "options",
    [
        {"swap_prototypes": True},
        {"deep_half": True},
        {"window": 3},
        {"distance_share": 0.35},
        {"image_share": 1.0},
        {"upsampling": "bilinear"},
        {"latent_seed": 1},
        {"samples": 1},
        {"cls_ln_post": True},
        {"vv_from_block": 2},
        {"sigma": 0.0},
    ],
    ids=str,
)
def test_every_option_of_inference_shows(moved_cops, batch, options):
    paper, other = moved_cops(), moved_cops(**options)
    other.load_state_dict(paper.state_dict())
    found, expected = other(batch.images), paper(batch.images)
    assert any(not torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_map_is_upsampled_by_the_nearest_then_smoothed(make_cops):
    impulse = torch.zeros(1, 4, 4)
    impulse[0, 1, 1] = 1
    expected = UpsampleBlur((4, 4), (32, 32), 1.6, "nearest")(impulse)
    assert torch.equal(make_cops(sigma=0.05).smooth(impulse), expected)


def test_the_longest_prompt_fits(make_cops):
    assert make_cops(prompt_length=73).normal.eot.tolist() == [75]


def test_a_clip_whose_text_has_another_width_is_refused(backbone):
    with pytest.raises(InputError, match="zsad-test-small has 24 and 16: use ViT-L-14-336-quickg"):
        Cops(backbone, CopsConfig(), TrainingWords(()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_depth": 5}, r"cops: text_depth 5 is not in 1..4"),
        ({"vv_from_block": -7}, r"block -7 does not exist"),
        ({"prompt_length": 8}, "prompt_length 8 leaves no context before its 8 tokens of state"),
        ({"prompt_length": 74}, "prompt_length 74 does not fit the text tower: use at most 73"),
        ({"deep_length": 7}, r"deep_length 7 is not in 1..6"),
        ({"prototypes": 0}, "prototypes must be positive"),
        ({"samples": 0}, "samples must be positive"),
        ({"window": 4}, "window 4 is no odd side: use 3 or 5"),
        ({"train_window": -1}, "train_window -1 is no odd side"),
        ({"reconstruction": "none"}, "reconstruction 'none' is not one of image, pairs"),
        ({"upsampling": "cubic"}, "upsampling 'cubic' is not one of bilinear, aligned, nearest"),
        ({"distance_share": 1.2}, r"distance_share 1.2 is not in 0..1"),
        ({"image_share": -0.1}, r"image_share -0.1 is not in 0..1"),
        ({"tau": 0.0}, "tau must be positive"),
        ({"sigma": -1.0}, "sigma must not be negative"),
        ({"weight_maps": -1.0}, "weight_maps must not be negative"),
        ({"latent_seed": -1}, "latent_seed must not be negative"),
    ],
)
def test_options_that_do_not_fit_are_refused(make_cops, options, message):
    with pytest.raises(InputError, match=message):
        make_cops(**options)
