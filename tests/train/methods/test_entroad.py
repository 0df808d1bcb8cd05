import dataclasses
import math
import re

import pytest
import torch
import torch.nn.functional as F

from zsad.errors import InputError
from zsad_train.checkpoint import build_method, load_checkpoint, save_checkpoint
from zsad_train.config import TrainConfig
from zsad_train.loop import fit
from zsad_train.losses import segmentation_loss
from zsad_train.methods.entroad import RoutedShift
from zsad_train.methods.entroad_config import PRESETS, EntroAdConfig
from zsad_train.methods.judge import Sight

VARIANTS = [
    {},
    {"routing": "power", "gate": "amplify"},
    {"entropy_sign": "low", "entropy_heads": "each", "gate": "open"},
    {"second_branch": "twin", "entropy_blocks": (0, -2), "weight_first_map": 0.4},
    {"deep_half": True, "retrieval_ln_post": False, "text_depth": 1, "context_length": 4},
]


def naive_entropy(method, image):
    """Return e of Eq. 1-3 from CLIP's own attention weights, patch by patch."""
    vision, config = method.backbone.vision, method.config
    x = vision._embed(image[None], None)
    entropies = []
    for index, block in enumerate(vision.blocks):
        h = block.ln_1(x)
        heads = block.attn(h, h, h, need_weights=True, average_attn_weights=False)
        attended, weights = heads[0], heads[1][0]  # (heads, 17, 17)
        if index in method.reading.entropy_blocks:
            weights = (
                weights.mean(dim=0, keepdim=True) if config.entropy_heads == "mean" else weights
            )
            entropies.append(torch.zeros(16))
            for head in weights:
                for patch in range(16):
                    row = head[1 + patch, 1:] / (head[1 + patch, 1:].sum() + 1e-8)
                    entropies[-1][patch] -= sum(p * (p + 1e-8).log() for p in row) / len(weights)
        x = x + attended
        x = x + block.mlp(block.ln_2(x))
    mean = torch.stack(entropies).mean(dim=0)
    scaled = (mean - mean.min()) / (mean.max() - mean.min() + 1e-8)
    return scaled if config.entropy_sign == "high" else 1 - scaled


def naive_shifts(method, z, p, e):
    """Return the shifts of both branches, (2, width) each, for one image (Eq. 5-9)."""
    config = method.config
    if config.routing == "tempered":
        logits = (1 - p) * (1 - e) / config.temperature, p * e / config.temperature
    else:
        logits = (1 - p) * (1 - e) ** (1 / config.temperature), p * e ** (1 / config.temperature)
    normal, abnormal = (logit.softmax(dim=0) @ z for logit in logits)
    strength = config.gate_base + config.gate_spread * e.std(unbiased=False)
    gate = {
        "slope": (strength * (p.max() - config.gate_threshold)).sigmoid(),
        "amplify": strength * (p.max() - config.gate_threshold).sigmoid(),
        "open": torch.tensor(1.0),
    }[config.gate]
    routed = torch.cat([normal, gate * abnormal])
    first, second = (branch(routed).view(2, -1) for branch in method.router.branches)
    return first, gate * second if config.second_branch == "words" else second


def naive_text(method, index, shift):
    """Return the unit pair of one branch, all 77 tokens through the whole tower."""
    config, text, learner = method.config, method.backbone.text, method.branches[index]
    if index == 1 and config.second_branch == "words":
        words = ["a photo of a flawless object.", "a photo of a damaged object."]
    else:
        filler = " ".join("X" * config.context_length)
        words = [f"{filler} object.", f"{filler} damaged object."]
    ids = method.backbone.tokenize(words)
    x = text.embed(ids).clone()
    length = learner.own.shape[1]
    for state in (0, 1):
        if index == 1 and config.second_branch == "words":
            assert torch.equal(learner.own[state], x[state, 1 : 1 + length])
        x[state, 1 : 1 + length] = learner.own[state] + shift[state]
    x = x + text.positional_embedding
    mask = torch.full((77, 77), float("-inf")).triu(1)
    for block_index, block in enumerate(text.blocks):
        if 0 < block_index <= len(learner.deep):
            deep = learner.deep[block_index - 1]
            x = x.clone()
            x[:, 1 : 1 + len(deep)] = deep.half().float() if config.deep_half else deep
        h = block.ln_1(x)
        x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
        x = x + block.mlp(block.ln_2(x))
    ends = text.ln_final(x)[torch.arange(2), ids.argmax(dim=-1)]
    return F.normalize(ends @ text.text_projection, dim=-1)


def naive_prediction(method, images):
    config, scores, maps = method.config, [], []
    for image in images:
        features = method.reading(method.backbone.vision, image[None])
        sight = Sight.of(features, (4, 4))  # held against a naive form in the tests of MRAD
        z, p = sight.patches[0], method.patch_retrieval(sight.tokens)[0].sigmoid()
        shifts = naive_shifts(method, z, p, naive_entropy(method, image))
        both = []
        for index, shift in enumerate(shifts):
            text = naive_text(method, index, shift)
            both.append((z @ text.T / config.tau).softmax(dim=-1)[:, 1])
        share = config.weight_first_map
        grid = (share * both[0] + (1 - share) * both[1]).reshape(1, 4, 4)
        maps.append(method.smooth(grid)[0])
        top = maps[-1].flatten().sort().values[-10:].mean()
        image_share = method.image_retrieval(sight.image)[0].sigmoid()
        scores.append(0.3 * top + 0.7 * image_share)
    return torch.stack(scores), torch.stack(maps)


@pytest.mark.parametrize("options", VARIANTS)
def test_the_prediction_is_the_naive_one(moved_entroad, batch, options):
    method = moved_entroad(**options)
    with torch.no_grad():
        prediction = method(batch.images)
        score, anomaly_map = naive_prediction(method, batch.images)
    torch.testing.assert_close(prediction.score, score, atol=1e-5, rtol=0)
    torch.testing.assert_close(prediction.anomaly_map, anomaly_map, atol=1e-5, rtol=0)
    torch.testing.assert_close(prediction.score_logit.sigmoid(), prediction.score)


@pytest.mark.parametrize("options", VARIANTS)
def test_an_image_is_judged_the_same_in_any_batch(moved_entroad, batch, assert_same, options):
    method = moved_entroad(**options)
    together = method(batch.images)
    for index in range(4):
        alone = method(batch.images[index : index + 1])
        assert_same(alone, type(alone)(*(tensor[index : index + 1] for tensor in together)))


def router(**options):
    return RoutedShift(2, 3, EntroAdConfig(**options))


def sight_of(*entropies, patches=4):
    return Sight(torch.ones(1, 2), torch.ones(1, patches, 2), torch.ones(1, patches, 2), entropies)


def test_entropy_is_the_mean_over_blocks_scaled_per_image():
    """Means 2, 3, 4 and 6 of two blocks: 0, 1/4, 1/2 and 1."""
    sight = sight_of(torch.tensor([[1.0, 2, 3, 5]]), torch.tensor([[3.0, 4, 5, 7]]))
    torch.testing.assert_close(router().entropy(sight), torch.tensor([[0, 0.25, 0.5, 1]]))
    low = router(entropy_sign="low").entropy(sight)
    torch.testing.assert_close(low, torch.tensor([[1, 0.75, 0.5, 0]]))


def test_an_image_of_one_entropy_has_none():
    assert not router().entropy(sight_of(torch.full((1, 4), 2.0))).any()


def test_tempered_weights_set_patches_apart_where_powers_cannot():
    """p e is 1 and 0: e^10 to 1 at T = 0.1, and e to 1 with powers."""
    probability, entropy = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    normal, abnormal = router().weights(probability, entropy)
    assert (abnormal[0, 0] / abnormal[0, 1]).item() == pytest.approx(math.exp(10), rel=1e-4)
    assert torch.equal(normal, abnormal.flip(1))
    _, weak = router(routing="power").weights(probability, entropy)
    assert (weak[0, 0] / weak[0, 1]).item() == pytest.approx(math.e, rel=1e-5)


@pytest.mark.parametrize(
    ("gate", "highest", "expected"),
    [
        # e is 0 and 1: its spread is 1/2, so the strength 5 + 50 / 2 = 30.
        ("slope", 0.7, 1 / (1 + math.exp(-30 * 0.2))),
        ("slope", 0.3, 1 / (1 + math.exp(30 * 0.2))),
        ("amplify", 0.7, 30 / (1 + math.exp(-0.2))),
        ("open", 0.7, 1.0),
    ],
)
def test_the_gate_is_known_by_hand(gate, highest, expected):
    found = router(gate=gate).gate(torch.tensor([[0.1, highest]]), torch.tensor([[0.0, 1.0]]))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_sketchs_gate_closes_nothing():
    """Patches that are surely normal: the slope leaves nothing, the sketch's form 11 times."""
    probability, entropy = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert router().gate(probability, entropy).item() < 1e-6
    assert router(gate="amplify").gate(probability, entropy).item() > 11


def test_training_starts_from_unshifted_prompts(make_entroad, batch):
    method = make_entroad()
    with torch.no_grad():
        sight = Sight.of(method.look(batch), (4, 4))
        shifts = method.router(sight, method.patch_retrieval(sight.tokens))
    assert not any(shift.any() for shift in shifts)


def test_the_second_branch_is_written_by_hand_and_frozen(make_entroad):
    method = make_entroad()
    text, shift = method.backbone.text, torch.zeros(1, 2, 24)
    words = ["a photo of a flawless object.", "a photo of a damaged object."]
    expected = text.encode(method.backbone.tokenize(words))
    torch.testing.assert_close(method.encode(1, shift)[0], expected)
    assert not method.branches[1].own.requires_grad
    twins = make_entroad(second_branch="twin")
    assert twins.branches[1].own.requires_grad
    assert twins.branches[0].own.shape == twins.branches[1].own.shape


def test_the_terms_are_weighted_by_branch(moved_entroad, batch):
    method = moved_entroad(weight_first=0.6, focal_gamma=1.5)
    method.begin_epoch(2)
    sight = Sight.of(method.look(batch), (4, 4))
    share = method.patch_retrieval.share(sight.tokens, 0.8)
    expected = []
    for index, shift in enumerate(method.router(sight, share.logit())):
        text = F.normalize(method.encode(index, shift), dim=-1)
        maps = (sight.patches @ text.mT / 0.07).softmax(dim=-1)[..., 1].view(4, 1, 4, 4)
        full = F.interpolate(maps, size=(32, 32), mode="bilinear")[:, 0]
        expected.append(segmentation_loss(full, batch.masks, 1.5))
    terms = method.loss(batch)
    assert terms.keys() == {"first_maps", "second_maps"}
    torch.testing.assert_close(terms["first_maps"], 0.6 * expected[0])
    torch.testing.assert_close(terms["second_maps"], 0.4 * expected[1])


@pytest.mark.parametrize("options", VARIANTS)
def test_each_stage_learns_its_own_part(moved_entroad, batch, options):
    method = moved_entroad(**options)
    stages = {1: ("patch_retrieval", "image_retrieval"), 2: ("router", "branches")}
    for epoch, learned in stages.items():
        method.begin_epoch(epoch)
        method.zero_grad()
        sum(method.loss(batch).values()).backward()
        for name, parameter in method.named_parameters():
            reached = parameter.grad is not None and parameter.grad.abs().sum() > 0
            trainable = parameter.requires_grad and parameter.numel() > 0
            assert reached == (name.startswith(learned) and trainable), name


def test_every_trainable_parameter_is_optimised_once(make_entroad):
    method = make_entroad()
    (parameters,) = method.parameter_groups().values()
    trainable = {id(p) for p in method.parameters() if p.requires_grad}
    assert len(parameters) == len(trainable) and {id(p) for p in parameters} == trainable


def test_training_lowers_the_loss(make_entroad, squares, tmp_path):
    config = TrainConfig(epochs=6, batch_size=4, lr_prompts=1e-2, device="cpu")
    records = fit(make_entroad(), squares(count=16), config, tmp_path / "entroad.pt")
    assert records[0].loss.keys() == {"retrieved_maps", "retrieved_image", "total"}
    assert records[-1].loss["total"] < 0.95 * records[1].loss["total"]


def test_a_checkpoint_holds_what_was_trained(moved_entroad, batch, assert_same, tmp_path):
    method = moved_entroad(**dataclasses.asdict(PRESETS["entroad-sketch"]))
    save_checkpoint(tmp_path / "entroad.pt", method, {})
    checkpoint = load_checkpoint(tmp_path / "entroad.pt")
    assert "branches.1.own" not in checkpoint.state  # frozen words come from the backbone
    again = build_method(checkpoint)
    assert again.config == PRESETS["entroad-sketch"]
    assert_same(again(batch.images), method(batch.images), tolerance=0)


def test_the_presets_differ_in_what_they_say():
    ours, sketch = (dataclasses.asdict(PRESETS[n]) for n in ("entroad", "entroad-sketch"))
    assert {n for n, v in ours.items() if sketch[n] != v} == {"routing", "gate"}
    assert PRESETS["entroad"].reading_for(24).entropy_blocks == (5, 11, 17, 23)
    assert PRESETS["entroad"].map_weights == PRESETS["entroad"].loss_weights == (0.7, 1 - 0.7)


@pytest.mark.parametrize(
    "options",
    [
        {"entropy_sign": "low"},
        {"entropy_heads": "each"},
        {"entropy_blocks": (0,)},
        {"routing": "power"},
        {"gate": "amplify"},
        {"gate": "open"},
        {"second_normal_words": "perfect object"},
        {"temperature": 1.0},
        {"weight_first_map": 0.5},
    ],
    ids=str,
)
def test_what_is_an_option_shows(moved_entroad, batch, options):
    plain, other = moved_entroad(), moved_entroad(**options)
    with torch.no_grad():
        pairs = zip(plain(batch.images), other(batch.images), strict=True)
        assert any((a - b).abs().max() > 1e-6 for a, b in pairs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"entropy_sign": "both"}, "entroad: entropy_sign 'both' is not one of high, low"),
        ({"routing": "hard"}, "entroad: routing 'hard' is not one of tempered, power"),
        ({"gate": "shut"}, "entroad: gate 'shut' is not one of slope, amplify, open"),
        ({"maps": "retrieval"}, "entroad: maps 'retrieval' is not one of text"),
        ({"temperature": 0.0}, "entroad: temperature must be positive"),
        ({"weight_first": 1.2}, "entroad: weight_first 1.2 is not in 0..1"),
        ({"entropy_blocks": (6,)}, "block 6 does not exist"),
    ],
)
def test_options_that_cannot_be_are_refused(make_entroad, options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make_entroad(**options)
