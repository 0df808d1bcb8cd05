"""What the tests of several packages share: an artifact known by hand, and honest skips."""

import dataclasses
import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zsad.artifact import MANIFEST, hash_files, seal
from zsad.credentials import forget_secrets
from zsad.manifest import (
    BackboneRecord,
    GraphFile,
    Manifest,
    MethodInfo,
    TensorSpec,
    TextInput,
    Words,
)
from zsad.preprocess import PreprocessSpec

OPSET = 17


@pytest.fixture(scope="session")
def device_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("device-cache")


@pytest.fixture(autouse=True)
def no_secrets():
    """Let no test's secret be hidden in what another one reads."""
    yield
    forget_secrets()


@pytest.fixture(autouse=True)
def one_engine(device_cache, monkeypatch):
    """Keep `--backend auto` from measuring, and its memory away from the user's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(device_cache))
    monkeypatch.setattr("zsad.backends.auto.OPTIONAL", ())


def known_graph(height, width, *, score="mean", gain=1.0, producer="zsad tests"):
    """A graph whose answer is known by hand.

    `anomaly_map` = gain * (B + G + R) / (3 * 255) of each pixel, clipped to [0, 1]; `score` is the
    map's mean or maximum, or NaN for `score="nan"`; `score_logit` its logit.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels"], ["grey"], axes=[3], keepdims=0),
        helper.make_node("Mul", ["grey", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "zero", "one"], ["anomaly_map"]),
        helper.make_node("ReduceMax", ["anomaly_map"], ["max"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMean", ["anomaly_map"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["mean", "nan_constant"], ["nan"]),
        helper.make_node("Identity", [score], ["score"]),
        helper.make_node("Clip", [score, "low", "high"], ["inside"]),
        helper.make_node("Sub", ["one", "inside"], ["rest"]),
        helper.make_node("Div", ["inside", "rest"], ["odds"]),
        helper.make_node("Log", ["odds"], ["score_logit"]),
    ]
    constants = {
        "scale": gain / 255,
        "zero": 0,
        "one": 1,
        "low": 1e-6,
        "high": 1 - 1e-6,
        "nan_constant": np.nan,
    }
    graph = helper.make_graph(
        nodes,
        "known",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", height, width, 3])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, ["N", height, width]),
            helper.make_tensor_value_info("score_logit", TensorProto.FLOAT, ["N"]),
        ],
        [numpy_helper.from_array(np.float32(v), k) for k, v in constants.items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, ir_version=8, opset_imports=opset, producer_name=producer)


def write_artifact(
    path,
    *,
    height=8,
    width=12,
    precisions=("fp32",),
    default=None,
    graph=None,
    **answer,
):
    """Write an artifact at `path`; `graph` bytes stand in for the known graph where given."""
    path.mkdir(parents=True)
    for precision in precisions:
        # The producer's name alone makes two graphs of one artifact differ in their hash.
        model = known_graph(height, width, producer=f"zsad tests {precision}", **answer)
        content = model.SerializeToString() if graph is None else graph
        (path / f"model.{precision}.onnx").write_bytes(content)
    seal(path, known_manifest(path, height, width, precisions, default or precisions[0]))
    return path


def known_manifest(path, height, width, precisions, default):
    files = hash_files(path)
    names = {precision: f"model.{precision}.onnx" for precision in precisions}
    return Manifest(
        schema=1,
        method=MethodInfo("known", {"answer": "mean of channels"}),
        backbone=BackboneRecord("none", "random", "", False, "none"),
        words=Words(("flawless part",), ("damaged part",)),
        preprocess=PreprocessSpec(height, width),
        inputs=(TensorSpec("image", ("N", height, width, 3), "uint8"),),
        outputs=(
            TensorSpec("score", ("N",), "float32"),
            TensorSpec("anomaly_map", ("N", height, width), "float32"),
            TensorSpec("score_logit", ("N",), "float32"),
        ),
        graphs={p: GraphFile(n, None, files[n], OPSET) for p, n in names.items()},
        default_precision=default,
        parity={},
        files=files,
        made_by={"onnx": onnx.__version__},
    )


TEMPLATE = "a {} here"
CONTEXT = 12


def typed_graph(height, width):
    """`known_graph` with a text table (1 + K, 2): type k has the map of grey times its row's first.

    `type_score` is each map's maximum.
    """
    model = known_graph(height, width)
    graph = model.graph
    graph.node.extend(
        [
            helper.make_node("Slice", ["text_table", "from", "to", "axes"], ["rows"]),
            helper.make_node("Transpose", ["rows"], ["gains"], perm=[1, 0]),  # (1, K)
            helper.make_node("Unsqueeze", ["gains", "places"], ["gains4"]),  # (1, K, 1, 1)
            helper.make_node("Unsqueeze", ["anomaly_map", "one_axis"], ["map4"]),
            helper.make_node("Mul", ["map4", "gains4"], ["type_map"]),
            helper.make_node("ReduceMax", ["type_map"], ["type_score"], axes=[2, 3], keepdims=0),
        ]
    )
    constants = {"from": [1, 0], "to": [999, 1], "axes": [0, 1], "places": [2, 3], "one_axis": [1]}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in constants.items()
    )
    table = helper.make_tensor_value_info("text_table", TensorProto.FLOAT, ["1+K", 2])
    graph.input.append(table)
    shapes = {"type_map": ["N", "K", height, width], "type_score": ["N", "K"]}
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    return model


def known_encoder():
    """Token ids (K, CONTEXT) to rows: the share of ids that are not padding, and 1."""
    nodes = [
        helper.make_node("Greater", ["token_ids", "zero"], ["given"]),
        helper.make_node("Cast", ["given"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["ones"], ["share"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["share", "none"], ["zeros"]),
        helper.make_node("Add", ["zeros", "one"], ["second"]),
        helper.make_node("Concat", ["share", "second"], ["rows"], axis=1),
    ]
    constants = {"zero": np.int64(0), "none": np.float32(0), "one": np.float32(1)}
    ids = helper.make_tensor_value_info("token_ids", TensorProto.INT64, ["K", CONTEXT])
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["K", 2])
    initializers = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "encoder", [ids], [rows], initializers)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, ir_version=8, opset_imports=opset)


def clip_vocabulary():
    """CLIP's merges where open_clip is installed, which is not imported for it."""
    found = importlib.util.find_spec("open_clip")
    if found is None:
        pytest.skip("CLIP's vocabulary comes with open_clip")
    return Path(found.origin).parent / "bpe_simple_vocab_16e6.txt.gz"


def write_typed_artifact(path, types=("dent", "rust"), height=8, width=12):
    """Write an artifact whose text is an input and whose answers are known by hand.

    "a dent here" is 5 tokens of 12 with start and end, and so is any type of one token.
    """
    path.mkdir(parents=True)
    (path / "model.fp32.onnx").write_bytes(typed_graph(height, width).SerializeToString())
    (path / "text.onnx").write_bytes(known_encoder().SerializeToString())
    shutil.copyfile(clip_vocabulary(), path / "vocabulary.gz")
    table = np.float32([[0.9, 1.0], *([5 / CONTEXT, 1.0] for _ in types)])
    np.save(path / "text_table.npy", table)
    manifest = known_manifest(path, height, width, ["fp32"], "fp32")
    encoder = GraphFile("text.onnx", None, manifest.files["text.onnx"], OPSET)
    seal(
        path,
        dataclasses.replace(
            manifest,
            words=Words((), (), types),
            inputs=(*manifest.inputs, TensorSpec("text_table", ("1+K", 2), "float32")),
            outputs=(
                *manifest.outputs,
                TensorSpec("type_map", ("N", "K", height, width), "float32"),
                TensorSpec("type_score", ("N", "K"), "float32"),
            ),
            text=TextInput(
                "text_table.npy", encoder, "vocabulary.gz", TEMPLATE, CONTEXT, 64, max_abs=0.0
            ),
        ),
    )
    return path


@pytest.fixture
def make_typed_artifact(tmp_path):
    """Return `make(name="typed", **options of write_typed_artifact) -> path`."""
    return lambda name="typed", **options: write_typed_artifact(tmp_path / name, **options)


@pytest.fixture(scope="session")
def vocabulary():
    """CLIP's vocabulary file."""
    return clip_vocabulary()


@pytest.fixture
def make_artifact(tmp_path):
    """Return `make(name="artifact", **options of write_artifact and known_graph) -> path`."""
    return lambda name="artifact", **options: write_artifact(tmp_path / name, **options)


@pytest.fixture
def reseal():
    """Return `reseal(path)`: makes the hashes right again after files of an artifact changed."""

    def again(path):
        manifest = json.loads((path / MANIFEST).read_text())
        manifest["files"] = hash_files(path)
        for graph in manifest["graphs"].values():
            graph["sha256"] = manifest["files"][graph["file"]]
        (path / MANIFEST).write_text(json.dumps(manifest))

    return again


@pytest.fixture
def small_checkpoint(tmp_path):
    """A checkpoint of DIVE on a CLIP of 16 px with random weights; needs torch."""
    open_clip = pytest.importorskip("open_clip")
    from zsad_train.checkpoint import save_checkpoint
    from zsad_train.methods.base import TrainingWords
    from zsad_train.methods.dive import Dive
    from zsad_train.methods.dive_config import DiveConfig
    from zsad_train.towers import load_backbone

    vision = {"image_size": 16, "layers": 6, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 4}
    config = tmp_path / "zsad-test-checkpoint.json"
    config.write_text(json.dumps({"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(config)
    backbone = load_backbone("zsad-test-checkpoint", pretrained="random:1")
    words = TrainingWords(("plate",), ("a photo of a crack",), ("a photo of a clean plate",))
    path = tmp_path / "dive.pt"
    save_checkpoint(path, Dive(backbone, DiveConfig(context_length=4, ca_heads=1), words), {})
    return path


def make_released_state(backbone, method, *, deep_sets=2, own_length=2, seed=7):
    """Return what a method's code saves: dead entries and buffers too, where it keeps them."""
    import torch

    if method == "cops":
        return make_released_cops(backbone, deep_sets=deep_sets, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    width, joint = backbone.text.width, backbone.text.embed_dim

    def draw(*shape, std=0.3):
        return std * torch.randn(*shape, generator=generator)

    faprompt = method == "faprompt"
    length = 5 if faprompt else 12
    negative = "N " * 5 + "A " * own_length if faprompt else "X " * length
    ids_pos = backbone.tokenize(["X " * length + "object."])
    ids_neg = backbone.tokenize([f"{negative}damaged object."] * (10 if faprompt else 1))
    pos, neg = backbone.text.embed(ids_pos)[None], backbone.text.embed(ids_neg)[None]
    begin = 1 + length + (own_length if faprompt else 0)
    state = {
        "ctx_pos": draw(1, 1, length, width),
        "ctx_neg": draw(1, 10, own_length, width) if faprompt else draw(1, 1, length, width),
        "token_prefix_pos": pos[:, :, :1].clone(),
        "token_suffix_pos": pos[:, :, 1 + length :].clone(),
        "token_prefix_neg": neg[:, :, :1].clone(),
        "token_suffix_neg": neg[:, :, begin:].clone(),
        "tokenized_prompts_pos": ids_pos[None].int(),
        "tokenized_prompts_neg": ids_neg[None].int(),
    }
    for index in range(deep_sets):
        state[f"compound_prompts_text.{index}"] = draw(4, width)
        state[f"compound_prompt_projections.{index}.weight"] = draw(896, width)
        state[f"compound_prompt_projections.{index}.bias"] = draw(896)
    if faprompt:
        inputs = 10 * joint
        state["patch_meta_net.linear1.weight"] = draw(inputs // 16, inputs)
        state["patch_meta_net.linear1.bias"] = draw(inputs // 16)
        state["patch_meta_net.linear2.weight"] = draw(width, inputs // 16)
        state["patch_meta_net.linear2.bias"] = draw(width)
    return state


def make_released_cops(backbone, *, deep_sets=2, prototypes=6, context=6, seed=7):
    """Return what CoPS's code saves: no encoder, no buffers, none of the layers it never uses."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    width = backbone.text.width

    def draw(*shape, std=0.3):
        return std * torch.randn(*shape, generator=generator)

    state = {
        "ctx_pos": draw(1, 1, context + prototypes + 2, width),
        "ctx_neg": draw(1, 1, context + prototypes + 2, width),
        "t_n": draw(prototypes, width),
        "t_a": draw(prototypes, width),
        "extractor.attn.in_proj_weight": draw(3 * width, width),
        "extractor.attn.in_proj_bias": draw(3 * width),
    }
    for name in ("attn.out_proj", "mlp.c_fc", "mlp.c_proj"):
        state[f"extractor.{name}.weight"] = draw(width, width)
        state[f"extractor.{name}.bias"] = draw(width)
    for name in ("ln_1", "ln_2"):
        state[f"extractor.{name}.weight"] = 1 + draw(width)
        state[f"extractor.{name}.bias"] = draw(width)
    for name in ("net.0", "net.2"):
        state[f"vae_decoder.{name}.weight"] = draw(width, width)
        state[f"vae_decoder.{name}.bias"] = draw(width)
    for index in range(deep_sets):
        state[f"compound_prompts_text.{index}"] = draw(4, width)
    return state


@pytest.fixture(scope="session")
def released_state():
    """`make(backbone, method, deep_sets=2, own_length=2, seed=7)`: see `make_released_state`."""
    return make_released_state


def pytest_collection_modifyitems(items):
    """Skip, and count as such, tests that drive a system program which is missing."""
    required = os.environ.get("REQUIRE_SYSTEM") == "1"
    for item in items:
        marker = item.get_closest_marker("system")
        missing = [name for name in marker.args if shutil.which(name) is None] if marker else []
        if missing and not required:
            item.add_marker(pytest.mark.skip(reason=f"system program missing: {missing[0]}"))


def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum("system program missing" in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(
            f"{count} tests skipped for want of a system program (REQUIRE_SYSTEM=1 makes them fail)"
        )
