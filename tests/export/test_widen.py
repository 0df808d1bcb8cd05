"""Modules that half precision cannot hold stay in float32, and nothing else does."""

import onnx
import pytest
import torch
from onnxruntime.transformers import float16
from torch import nn

from zsad.errors import ParityError
from zsad.golden import read_golden
from zsad.parity import LIMITS, compare
from zsad_export.assembly import export_model
from zsad_export.engine import build_rtx_engine
from zsad_export.onnx_types import check_precision, tensor_types
from zsad_export.replay import replay_onnx
from zsad_export.twins import twin_fault
from zsad_export.widen import unit_of

LOUD = 2.0**17
"""Activations of the planted MLP are this much larger and its next layer makes up for it: a power
of two, so float32 computes the same, while half precision ends at 2^16."""

UNIT = "detector.blocks.0.mlp"


@pytest.mark.parametrize(
    ("node", "unit"),
    [
        ("detector.vision.blocks.3.mlp.c_fc/MatMul", "detector.vision.blocks.3.mlp"),
        ("detector.vision.blocks.3.ln_1/LayerNormalization", "detector.vision.blocks.3.ln_1"),
        ("detector.vision.blocks.3/Softmax", "detector.vision.blocks.3"),
        ("detector.conv1.stages.0.1.expand/Conv", "detector.conv1.stages.0.1"),
        ("detector.vision.ln_pre/LayerNormalization", "detector.vision.ln_pre/"),
        ("detector.vision/Add", "detector.vision/"),
    ],
)
def test_what_stays_in_float32_with_a_node(node, unit):
    assert unit_of(node) == unit


@pytest.fixture(scope="module")
def build_loud(small_detector):
    """A detector with a ReLU, which lets a factor through; `plant` puts it in."""

    def make(plant=True):
        class Loud(small_detector):
            def __init__(self):
                super().__init__()
                first, _, last = self.blocks[0].mlp
                self.blocks[0].mlp[1] = nn.ReLU()
                if plant:
                    first.weight.data *= LOUD
                    first.bias.data *= LOUD
                    last.weight.data /= LOUD

        return Loud

    return make


@pytest.fixture(scope="module", autouse=True)
def small_golden_frames(frames):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zsad_export.assembly.golden_frames", lambda: frames)
        yield


@pytest.fixture(scope="module")
def loud_artifact(build_loud, identity, tmp_path_factory):
    out = tmp_path_factory.mktemp("loud") / "artifact"
    return export_model(build_loud(), identity, out, ["fp32", "fp16"])


def graph_of(artifact, precision):
    return artifact.path / f"model.{precision}.onnx"


def test_the_factor_is_exact_in_float_and_overflows_in_half(build_loud):
    images = torch.randn(2, 3, 32, 40, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain, loud = build_loud(plant=False)()(images), build_loud()()(images)
        half = build_loud()().half()(images.half())
    torch.testing.assert_close(plain.score, loud.score, rtol=0, atol=0)
    assert not torch.isfinite(half.score).all()


def test_the_module_is_found_listed_and_everything_else_is_half(loud_artifact):
    record = loud_artifact.manifest.parity["fp16"]
    assert record.float32 == (UNIT,)
    assert f"in FP32: {UNIT}" in record.evidence
    types = tensor_types(onnx.load(graph_of(loud_artifact, "fp16")).graph)
    assert types[f"{UNIT}.0/Add"] == types[f"{UNIT}.2/MatMul"] == "float32"
    assert types["detector.blocks.0/Add"] == "float16"
    assert types["detector.blocks.0.norm/LayerNormalization"] == "float16"


def test_casts_stand_at_the_border_only(loud_artifact):
    def casts(precision):
        nodes = onnx.load(graph_of(loud_artifact, precision)).graph.node
        return {n.name: (n.input[0], n.output[0]) for n in nodes if n.op_type == "Cast"}

    border = {name: ends for name, ends in casts("fp16").items() if ".float" in name}
    inside = "detector.blocks.0.norm/LayerNormalization"
    last = f"{UNIT}.2/Add"
    assert set(border.values()) == {(inside, f"{inside}.float32"), (last, f"{last}.float16")}


def test_the_graph_is_as_near_to_pytorch_as_without_the_factor(
    loud_artifact, build_loud, identity, tmp_path
):
    plain = export_model(build_loud(plant=False), identity, tmp_path / "plain", ["fp32", "fp16"])
    ours, theirs = (a.manifest.parity["fp16"] for a in (loud_artifact, plain))
    assert theirs.float32 == ()
    assert ours.map_max_abs < 2 * theirs.map_max_abs + 1e-4
    assert ours.largest_magnitude < 1000


@pytest.mark.filterwarnings("ignore:the float32 number")
def test_a_converter_that_measures_nothing_loses_the_map(loud_artifact, tmp_path):
    path = tmp_path / "converted.onnx"
    exact = onnx.load(graph_of(loud_artifact, "fp32"))
    onnx.save(float16.convert_float_to_float16(exact, keep_io_types=True), path)
    frames, reference = read_golden(loud_artifact)
    spec = loud_artifact.manifest.preprocess
    names = [frame.name for frame in frames]
    found = compare(names, reference, replay_onnx(path, frames, spec), LIMITS["fp16"])
    assert found.map_max_abs > 1e-2
    assert loud_artifact.manifest.parity["fp16"].map_max_abs < 1e-3


def test_weights_kept_in_float_are_the_unrounded_ones(loud_artifact):
    assert twin_fault(graph_of(loud_artifact, "fp16"), graph_of(loud_artifact, "fp32")) is None


def test_an_island_that_nobody_declared_is_a_stray(loud_artifact):
    path = graph_of(loud_artifact, "fp16")
    assert check_precision(path, "fp16", [UNIT]).strays([UNIT]) == ()
    with pytest.raises(ParityError, match=r"2 operators before its head .* 'detector\.blocks\.0"):
        check_precision(path, "fp16")


def test_the_nvidia_compiler_takes_it_with_its_island(loud_artifact):
    built = build_rtx_engine(loud_artifact, "fp16", (86,))
    assert built.record.compute_types["float32"] >= 2
    assert built.record.compute_types["float16"] >= 2


def test_weights_too_small_for_half_precision_stay_in_float(small_detector, identity, tmp_path):
    class Faint(small_detector):
        """The MLP's first layer is 2^-20 times as large, and its second makes up for it."""

        def __init__(self):
            super().__init__()
            first, _, last = self.blocks[0].mlp
            self.blocks[0].mlp[1] = nn.ReLU()
            first.weight.data /= 2.0**20
            first.bias.data /= 2.0**20
            last.weight.data *= 2.0**12

    made = export_model(Faint, identity, tmp_path / "faint", ["fp32", "fp16"])
    assert made.manifest.parity["fp16"].float32 == (UNIT,)


def test_a_module_that_rounds_too_much_stays_in_float(small_detector, identity, tmp_path):
    class Cancelling(small_detector):
        """What its MLP adds first it takes away at the end; half precision rounds to 0.5 there."""

        def __init__(self):
            super().__init__()
            first, _, last = self.blocks[0].mlp
            first.bias.data += 600.0
            last.bias.data -= 600.0 * last.weight.data.sum(dim=1)

    made = export_model(Cancelling, identity, tmp_path / "cancelling", ["fp32", "fp16"])
    record = made.manifest.parity["fp16"]
    assert record.float32 == (UNIT,)
    assert record.map_max_abs < 5e-3


def test_attention_whose_values_overflow_keeps_its_block(build_dive, spec, identity, tmp_path):
    def build():
        dive = build_dive()
        attention = dive.backbone.vision.blocks[1].attn
        width = attention.embed_dim
        with torch.no_grad():
            attention.in_proj_weight[2 * width :] *= LOUD
            attention.in_proj_bias[2 * width :] *= LOUD
            attention.out_proj.weight /= LOUD
        return dive

    made = export_model(build, identity, tmp_path / "dive", ["fp32", "fp16"])
    record = made.manifest.parity["fp16"]
    assert record.float32 == ("detector.vision.blocks.1", "detector.vision.blocks.1.attn")
    assert record.map_max_abs < 2e-3
    types = tensor_types(onnx.load(graph_of(made, "fp16")).graph)
    assert types["detector.vision.blocks.1/Softmax"] == "float32"
    assert types["detector.vision.blocks.0/Softmax"] == "float16"
    assert types["detector.vision.blocks.2.mlp.c_fc/MatMul"] == "float16"
    assert build_rtx_engine(made, "fp16", (86,)).record.compute_types["float16"] > 10
