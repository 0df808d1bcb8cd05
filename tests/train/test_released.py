"""Files of AnomalyCLIP's and FAPrompt's code, against what that code makes of their tensors."""

import dataclasses
import pickle

import pytest
import torch
import torch.nn.functional as F

from zsad.errors import InputError
from zsad_train.checkpoint import build_method, load_checkpoint, save_checkpoint
from zsad_train.methods.anomalyclip_config import PRESETS as ANOMALYCLIP
from zsad_train.methods.faprompt_config import PRESETS as FAPROMPT
from zsad_train.released import read_released

PRESETS = {**ANOMALYCLIP, **FAPROMPT}
LAST = "patch_meta_net.linear2.bias"
OTHER = {"anomalyclip": "faprompt", "faprompt": "anomalyclip"}
METHODS = list(OTHER)


@pytest.fixture
def write(tmp_path, backbone, released_state):
    """Return `write(method, change, **options of released_state)`: gives the file and its state."""

    def make(method, change=lambda state: None, **options):
        state = released_state(backbone, method, **options)
        change(state)
        torch.save({"prompt_learner": state}, tmp_path / "epoch_15.pth")
        return tmp_path / "epoch_15.pth", state

    return make


def assert_same(found, expected):
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def read(path, method, **options):
    options = {"backbone": "zsad-test-small", "pretrained": "random:3", **options}
    return read_released(path, method, **{"image_size": None, **options})


def encode(text, state, deep_sets, bias=None):
    """Return the normal text (D,) and the abnormal prototype (D,), of the file's tensors alone."""
    pos = torch.cat(
        [state["token_prefix_pos"], state["ctx_pos"], state["token_suffix_pos"]], dim=2
    )[0]
    own = state["ctx_neg"] if bias is None else state["ctx_neg"] + bias
    count = own.shape[1]
    shared = [state["ctx_pos"].expand(-1, count, -1, -1)] if LAST in state else []
    neg = torch.cat([state["token_prefix_neg"], *shared, own, state["token_suffix_neg"]], dim=2)[0]
    deep = [state[f"compound_prompts_text.{index}"] for index in range(deep_sets)]
    normal = tower(text, pos, state["tokenized_prompts_pos"][0], deep)
    abnormal = tower(text, neg, state["tokenized_prompts_neg"][0], deep)
    return normal[0], abnormal.mean(dim=0)


def tower(text, prompts, ids, deep):
    """Send all 77 tokens through CLIP's own blocks, deep tokens in half precision."""
    x = prompts + text.positional_embedding
    mask = torch.full((77, 77), float("-inf")).triu(1)
    for index, block in enumerate(text.blocks):
        if 0 < index <= len(deep):
            rounded = deep[index - 1].expand(len(x), -1, -1).half()
            x = torch.cat([x[:, :1], rounded, x[:, 1 + rounded.shape[1] :]], dim=1)
        h = block.ln_1(x)
        x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
        x = x + block.mlp(block.ln_2(x))
    return text.ln_final(x)[torch.arange(len(x)), ids.argmax(dim=-1)] @ text.text_projection


def abnormal_probability(x, pair):
    """Return softmax([cos n, cos a] / 0.07)[1] of rows x (..., D)."""
    return (F.normalize(x, dim=-1) @ F.normalize(torch.stack(pair), dim=-1).T / 0.07).softmax(-1)[
        ..., 1
    ]


def released_scores(backbone, state, images, *, deep_sets=2):
    """Return the image scores and the patches' abnormal probability, as the code computes them."""
    features = backbone.vision(images, vv_from_block=0, cls_ln_post=False)
    patches, image = features.patches[0], features.image
    text = backbone.text
    pair = encode(text, state, deep_sets)
    if LAST not in state:
        return abnormal_probability(image, pair), abnormal_probability(patches, pair)
    scores, grids = [], []
    for own_patches, cls_token in zip(patches, image, strict=True):
        chosen = F.normalize(own_patches[:10], dim=-1).reshape(1, -1)
        layers = [
            (state[f"patch_meta_net.{n}.weight"], state[f"patch_meta_net.{n}.bias"])
            for n in ("linear1", "linear2")
        ]
        bias = F.linear(F.relu(F.linear(chosen, *layers[0])), *layers[1])
        adapted = encode(text, state, deep_sets, bias)
        before, after = (abnormal_probability(own_patches, p) for p in (pair, adapted))
        highest = (2 * before.max() + after.max()) / 3
        scores.append((abnormal_probability(cls_token, adapted) + highest) / 2)
        grids.append((before + after) / 2)
    return torch.stack(scores), torch.stack(grids)


@pytest.mark.parametrize("method", METHODS)
def test_scores_and_maps_are_those_of_the_authors_code(write, backbone, batch, method):
    path, state = write(method)
    checkpoint = read(path, method)
    built = build_method(
        dataclasses.replace(checkpoint, options={**checkpoint.options, "sigma": 0})
    )
    with torch.no_grad():
        scores, patches = released_scores(backbone, state, batch.images)
        found = built(batch.images)
    torch.testing.assert_close(found.score, scores, atol=1e-5, rtol=0)
    grid = patches.reshape(-1, 1, 4, 4)
    maps = F.interpolate(grid, size=(32, 32), mode="bilinear")[:, 0]
    torch.testing.assert_close(found.anomaly_map, maps, atol=1e-5, rtol=0)
    assert scores.std() > 1e-3 and maps.std() > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_it_is_the_released_preset_on_the_backbone_at_hand(write, backbone, method):
    checkpoint = read(write(method)[0], method)
    built = build_method(checkpoint)
    assert built.config == PRESETS[f"{method}-released"]
    assert checkpoint.backbone.pos_resize == "bilinear"
    assert read(write(method)[0], method, image_size=64).backbone.image_hw == (64, 64)
    for learner in (built.normal, built.abnormal):  # buffers are the backbone's
        assert torch.equal(learner.start, backbone.text.embed(torch.tensor([[49406]])))


@pytest.mark.parametrize("method", METHODS)
def test_it_can_be_saved_as_a_checkpoint_of_ours(write, batch, tmp_path, method):
    built = build_method(read(write(method)[0], method))
    save_checkpoint(tmp_path / "ours.pt", built, {})
    again = build_method(load_checkpoint(tmp_path / "ours.pt"))
    assert_same(again(batch.images), built(batch.images))


@pytest.mark.parametrize(("deep_sets", "own_length"), [(3, 1), (0, 2), (1, 3)])
@pytest.mark.parametrize("method", METHODS)
def test_lengths_are_those_of_the_file(write, backbone, batch, method, deep_sets, own_length):
    path, state = write(method, deep_sets=deep_sets, own_length=own_length)
    built = build_method(read(path, method))
    assert built.config.text_depth == 1 + deep_sets
    assert getattr(built.config, "own_length", own_length) == own_length
    with torch.no_grad():
        expected, _ = released_scores(backbone, state, batch.images, deep_sets=deep_sets)
        torch.testing.assert_close(built(batch.images).score, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_dead_entries_may_be_missing(write, batch, method):
    def strip(state):
        for key in list(state):
            if key.startswith(("token", "compound_prompt_projections")):
                del state[key]

    whole = build_method(read(write(method)[0], method))(batch.images)
    stripped = build_method(read(write(method, strip)[0], method))(batch.images)
    assert_same(stripped, whole)


@pytest.mark.parametrize("method", METHODS)
def test_a_file_in_half_precision_is_read(write, method):
    def halve(state):
        state.update({k: v.half() for k, v in state.items() if v.is_floating_point()})

    whole, halved = (
        read(write(method)[0], method).state,
        read(write(method, halve)[0], method).state,
    )
    for name, tensor in halved.items():
        assert torch.equal(tensor, whole[name].half().float()), name


@pytest.mark.parametrize("method", METHODS)
def test_a_file_of_the_other_method_is_named(write, method):
    path, _ = write(OTHER[method])
    with pytest.raises(InputError, match=f"the file is one of {OTHER[method]}, give --method"):
        read(path, method)


def put(key, value):
    return lambda state: state.update({key: value})


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("anomalyclip", lambda s: s.pop("ctx_neg"), "'ctx_neg' is missing: give a file that the"),
        ("faprompt", lambda s: s.pop(LAST), f"'{LAST}' is missing"),
        ("faprompt", lambda s: s.pop("compound_prompts_text.0"), r"text\.0' is missing"),
        ("faprompt", lambda s: s.pop("compound_prompts_text.1"), r"text\.1' is missing"),
        ("anomalyclip", put("compound_prompts_text.x", torch.ones(4, 24)), "text.x' is not anomal"),
        ("anomalyclip", put("extra", torch.ones(1)), "'extra' is not anomalyclip's"),
        ("anomalyclip", put("ctx_pos", torch.ones(12, 24)), r"is \(12, 24\), .* wants 4 dimension"),
        ("anomalyclip", put("ctx_pos", torch.ones(1, 1, 12, 32)),
         r"'ctx_pos' is \(1, 1, 12, 32\), anomalyclip on zsad-test-small wants \(1, 1, 12, 24\)"),
        ("anomalyclip", put("ctx_neg", torch.ones(1, 1, 9, 24)), r"'ctx_neg' is \(1, 1, 9, 24\)"),
        ("faprompt", put("ctx_pos", torch.ones(2, 1, 5, 24)), r"wants \(1, 1, 5, 24\)"),
        ("faprompt", put("compound_prompts_text.1", torch.ones(5, 24)), r"wants \(4, 24\)"),
        ("faprompt", put("patch_meta_net.linear1.weight", torch.ones(10, 99)),
         r"linear1.weight' is \(10, 99\), .* wants \(10, 160\): give --backbone"),
        ("anomalyclip", put("ctx_pos", torch.full((1, 1, 12, 24), torch.nan)), "no numbers"),
        ("anomalyclip", put("ctx_pos", torch.ones(1, 1, 12, 24).int()), "no numbers"),
        ("anomalyclip", put("ctx_pos", [1.0, 2.0]), "'ctx_pos' is no plain tensor"),
        pytest.param("anomalyclip", put("ctx_pos", torch.ones(1, 1, 12, 24).to_sparse()),
                     "is no plain tensor", marks=pytest.mark.filterwarnings("ignore:.*[Ss]parse")),
        ("anomalyclip", put(("ctx", 1), torch.ones(1)), "is no plain tensor"),
        ("anomalyclip", put("two\nlines", torch.ones(1)), r"'two\\nlines' is not anomalyclip's"),
        ("anomalyclip", put("ctx_pos", torch.ones(1, 1, 0, 24)), "context_length must be positive"),
        ("faprompt", put("token_prefix_pos", torch.ones(1, 1, 1, 24)), "is not the start token of"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(write, method, change, message):
    path, _ = write(method, change)
    with pytest.raises(InputError, match=message) as refused:
        read(path, method)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("method", METHODS)
def test_another_backbone_is_refused(write, method):
    path, _ = write(method)
    with pytest.raises(InputError, match=r"'ctx_pos' is .*24\), .* on tiny wants .*: give --backb"):
        read(path, method, backbone="tiny", pretrained=None)
    with pytest.raises(InputError, match="is not the start token of zsad-test-small: give"):
        read(path, method, pretrained="random:4")
    with pytest.raises(
        InputError, match=r"has 8 sets 'compound_prompts_text\.\*', .* takes 3 at most"
    ):
        read(write(method, deep_sets=8)[0], method)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code in a checkpoint ran')",))


@pytest.mark.parametrize("save", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, save):
    save({"prompt_learner": {"ctx_pos": Bomb()}}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=r"cannot be read as a checkpoint .* code of anomalyclip"):
        read(tmp_path / "bad.pth", "anomalyclip")


@pytest.mark.parametrize(
    "content", [{"state_dict": {}}, [1, 2], {"prompt_learner": [1]}, {}], ids=str
)
def test_a_foreign_file_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InputError, match="has no 'prompt_learner': give a file that the code of"):
        read(tmp_path / "other.pth", "faprompt")


def test_a_checkpoint_of_ours_and_a_method_without_files_are_refused(tmp_path, moved_faprompt):
    save_checkpoint(tmp_path / "ours.pt", moved_faprompt(), {})
    with pytest.raises(InputError, match="is a checkpoint of zsad-train: leave --method"):
        read(tmp_path / "ours.pt", "faprompt")
    with pytest.raises(InputError, match="known for dive, only for anomalyclip, faprompt, cops"):
        read(tmp_path / "ours.pt", "dive")


def test_whoever_takes_such_a_file_for_ours_is_told_what_to_do(write):
    with pytest.raises(InputError, match=r"is not a zsad checkpoint: .* give zsad-export its --me"):
        load_checkpoint(write("faprompt")[0])
