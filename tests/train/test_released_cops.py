"""Files of CoPS's code: what `cops-released` makes of them, and what is refused."""

import dataclasses
import pickle

import pytest
import torch

from zsad.errors import InputError
from zsad_train.checkpoint import build_method
from zsad_train.methods.cops_config import PRESETS
from zsad_train.released import read_released

RELEASED = PRESETS["cops-released"]


@pytest.fixture
def write(tmp_path, joint_backbone, released_state):
    """Return `write(change, **options of released_state)`: gives the file and its state."""

    def make(change=lambda state: None, method="cops", **options):
        state = released_state(joint_backbone, method, **options)
        change(state)
        torch.save({"prompt_learner": state}, tmp_path / "epoch_10.pth")
        return tmp_path / "epoch_10.pth", state

    return make


def read(path, method="cops", **options):
    options = {"backbone": "zsad-test-joint", "pretrained": "random:3", **options}
    return read_released(path, method, **{"image_size": None, **options})


def test_every_tensor_arrives_where_it_belongs(write):
    path, state = write()
    built = build_method(read(path))
    assert built.config == RELEASED and built.backbone.info.pos_resize == "bilinear"
    for learner, key in ((built.normal, "ctx_pos"), (built.abnormal, "ctx_neg")):
        assert torch.equal(torch.cat([learner.context, learner.own[0]]), state[key][0, 0])
    prototypes, decoder = built.prototypes, built.classes.decoder
    assert torch.equal(prototypes.normal, state["t_n"])
    assert torch.equal(prototypes.anomalous, state["t_a"])
    for index in range(2):
        assert torch.equal(built.normal.deep[index], state[f"compound_prompts_text.{index}"])
    pairs = {
        "attn.in_proj_weight": prototypes.attention.in_proj_weight,
        "attn.in_proj_bias": prototypes.attention.in_proj_bias,
        "attn.out_proj.weight": prototypes.attention.out_proj.weight,
        "attn.out_proj.bias": prototypes.attention.out_proj.bias,
        "ln_1.weight": prototypes.norm.weight,
        "ln_1.bias": prototypes.norm.bias,
        "ln_2.weight": prototypes.mlp_norm.weight,
        "ln_2.bias": prototypes.mlp_norm.bias,
        "mlp.c_fc.weight": prototypes.mlp[0].weight,
        "mlp.c_fc.bias": prototypes.mlp[0].bias,
        "mlp.c_proj.weight": prototypes.mlp[2].weight,
        "mlp.c_proj.bias": prototypes.mlp[2].bias,
    }
    for key, tensor in pairs.items():
        assert torch.equal(tensor, state[f"extractor.{key}"]), key
    for layer in (0, 2):
        assert torch.equal(decoder[layer].weight, state[f"vae_decoder.net.{layer}.weight"])
        assert torch.equal(decoder[layer].bias, state[f"vae_decoder.net.{layer}.bias"])


def test_lengths_are_the_files(write):
    def lengthen(state):
        state["ctx_pos"] = state["ctx_neg"] = torch.randn(1, 1, 5 + 3 + 2, 24)
        state["t_n"], state["t_a"] = torch.randn(3, 24), torch.randn(3, 24)

    config = build_method(read(write(lengthen, deep_sets=1)[0])).config
    assert config == dataclasses.replace(RELEASED, prompt_length=10, prototypes=3, text_depth=2)
    assert config.context_length == 5


def test_a_whole_state_dict_is_read_the_same(write):
    def keep_all(state):
        for key in list(state):
            if key.startswith("extractor."):
                state[f"extractor_.{key.removeprefix('extractor.')}"] = torch.randn(2, 3)
        state["projector.fc.0.weight"] = torch.randn(768, 1024)
        state["projector_cls.fc.0.bias"] = torch.randn(768)
        state["vae_encoder.net.0.weight"] = torch.randn(24, 24)
        state["token_prefix_neg"] = torch.randn(1, 1, 1, 24)
        state["tokenized_prompts_pos"] = torch.zeros(1, 1, 77, dtype=torch.int32)

    plain, whole = read(write()[0]).state, read(write(keep_all)[0]).state
    learned = {name for name in plain if not name.startswith("classes.")}
    assert learned and all(torch.equal(plain[name], whole[name]) for name in learned)


@torch.no_grad()
def test_what_training_alone_needs_changes_no_result(write, batch):
    built = build_method(read(write()[0]))
    before = built(batch.images).anomaly_map
    for layer in (built.classes.hidden[0], built.classes.mean, built.classes.log_variance):
        layer.weight.add_(1)
    assert torch.equal(built(batch.images).anomaly_map, before)


def test_files_in_half_precision_are_read_as_float32(write):
    def halve(state):
        state.update({k: v.half() for k, v in state.items()})

    whole, halved = read(write()[0]).state, read(write(halve)[0]).state
    assert torch.equal(halved["normal.own"], whole["normal.own"].half().float())


def put(key, value):
    return lambda state: state.update({key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("t_a"), "'t_a' is missing: give a file that the code of cops wrote"),
        (lambda s: s.pop("vae_decoder.net.2.bias"), r"'vae_decoder\.net\.2\.bias' is missing"),
        (lambda s: s.pop("compound_prompts_text.0"), r"text\.0' is missing"),
        (put("extra", torch.ones(1)), "'extra' is not cops's"),
        (put("ctx_pos", torch.ones(14, 24)), r"'ctx_pos' is \(14, 24\), cops wants 4 dimensions"),
        (put("ctx_pos", torch.ones(1, 1, 14, 32)), r"wants \(1, 1, 14, 24\): give --backbone"),
        (
            put("ctx_neg", torch.ones(1, 1, 12, 24)),
            r"'ctx_neg' is \(1, 1, 12, 24\), .* \(1, 1, 14,",
        ),
        (put("ctx_pos", torch.ones(2, 1, 14, 24)), r"wants \(1, 1, 14, 24\)"),
        (put("ctx_pos", torch.ones(1, 1, 8, 24)), "prompt_length 8 leaves no context"),
        (put("t_a", torch.ones(5, 24)), r"'t_a' is \(5, 24\), .* wants \(6, 24\)"),
        (put("extractor.mlp.c_fc.weight", torch.ones(96, 24)), r"c_fc.weight' is \(96, 24\)"),
        (put("compound_prompts_text.1", torch.ones(5, 24)), r"wants \(4, 24\)"),
        (put("t_n", torch.full((6, 24), torch.nan)), "'t_n' holds values that are no numbers"),
        (put("t_n", [1.0]), "'t_n' is no plain tensor"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(write, change, message):
    path, _ = write(change)
    with pytest.raises(InputError, match=message) as refused:
        read(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("other", ["anomalyclip", "faprompt"])
def test_a_file_of_another_method_is_named(write, other):
    with pytest.raises(InputError, match=f"the file is one of {other}, give --method {other}"):
        read(write(method=other)[0])
    with pytest.raises(InputError, match="the file is one of cops, give --method cops"):
        read(write()[0], other)


def test_another_backbone_is_refused(write):
    with pytest.raises(InputError, match=r"'ctx_pos' is .*24\), cops on tiny wants .*: give --ba"):
        read(write()[0], backbone="tiny", pretrained=None)
    with pytest.raises(InputError, match="as wide as its features, zsad-test-small has 24 and 16"):
        read(write()[0], backbone="zsad-test-small")
    with pytest.raises(InputError, match=r"has 8 sets .* cops on zsad-test-joint takes 3 at most"):
        read(write(deep_sets=8)[0])


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code in a checkpoint ran')",))


@pytest.mark.parametrize("save", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, save):
    save({"prompt_learner": {"ctx_pos": Bomb()}}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=r"cannot be read as a checkpoint .* code of cops wrote"):
        read(tmp_path / "bad.pth")
