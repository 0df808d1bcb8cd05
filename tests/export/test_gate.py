"""Planted faults: each of them has shipped in somebody's product, none may leave this house."""

from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

from zsad.data import Sample
from zsad.errors import ParityError
from zsad_export import replay
from zsad_export.gate import Gate
from zsad_export.graph import DeploymentGraph
from zsad_export.labelled import LabelledReference
from zsad_export.reference import ReferencePredictor, run_reference
from zsad_train.smoothing import upsample_blur_matrix
from zsad_train.towers import load_backbone


@pytest.fixture(scope="module")
def gate(build_dive, frames, spec):
    return Gate(build_dive, frames, run_reference(build_dive(), frames, spec), spec)


class Striped:
    """Twenty parts of one class, every second one with stripes; half of them in the dark."""

    name, classes, defect_types, has_masks = "striped", ("part",), ("stripes",), True

    def __len__(self):
        return 20

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        frame = rng.integers(0, 100 if index % 4 < 2 else 200, (48, 60, 3), dtype=np.uint8)
        mask = np.zeros((48, 60), bool)
        mask[16:32, 10:40] = index % 2
        frame[mask & (np.arange(60) % 4 < 2)] = 255
        return Sample(frame, mask, index % 2, "part", "stripes", f"part{index}")


@pytest.fixture(scope="module")
def labelled_gate(gate, build_dive, spec):
    predictor = ReferencePredictor(build_dive(), spec)
    with LabelledReference(Striped(), predictor, "PyTorch", draws=100) as labelled:
        yield replace(gate, labelled=labelled)


@pytest.fixture
def fp32(artifact):
    return artifact.path / "model.fp32.onnx"


def test_a_sound_graph_passes(gate, fp32):
    record = gate.check(fp32, "fp32")
    assert record.frames == 3
    assert record.score_max_abs < 1e-5
    assert record.map_correlation > 0.99999
    assert record.largest_magnitude is None
    assert record.evidence == "run on CPU"
    assert 0 < record.score_mean_abs <= record.score_max_abs
    assert (record.kendall_tau, record.data) == (1, None)
    assert record.worst_frame in {frame.name for frame in gate.frames}


def test_swapped_colours(gate, fp32, edit_graph):
    path = edit_graph(fp32, **{"graph/Gather.constant1": np.sort})
    with pytest.raises(ParityError, match=r"already at the first layer, 'detector\.vision\.conv1'"):
        gate.check(path, "fp32")


def test_scale_that_is_off(gate, fp32, edit_graph):
    path = edit_graph(fp32, **{"graph/Mul.constant1": lambda scale: scale * 1.01})
    with pytest.raises(ParityError, match=r"already at the first layer, 'detector\.vision\.conv1'"):
        gate.check(path, "fp32")


def test_resize_without_antialiasing(gate, fp32, monkeypatch):
    def cubic(frame, spec):
        return cv2.resize(frame, (spec.width, spec.height), interpolation=cv2.INTER_CUBIC)

    monkeypatch.setattr(replay, "resize_exact", cubic)
    with pytest.raises(ParityError, match="worst on frame-"):
        gate.check(fp32, "fp32")


def test_position_table_of_another_grid(gate, fp32, edit_graph):
    def roll(table):
        return np.concatenate([table[:1], np.roll(table[1:], 1, axis=0)])

    path = edit_graph(fp32, **{"detector.vision.positional_embedding": roll})
    with pytest.raises(ParityError, match=r"first at layer 'detector\.vision\.ln_pre'"):
        gate.check(path, "fp32")


def test_dropped_injection(gate, fp32, edit_graph):
    def drop(values):
        return values * 0

    output = "detector.injections.1.output"
    path = edit_graph(fp32, **{f"{output}/MatMul.constant1": drop, f"{output}.bias": drop})
    with pytest.raises(ParityError, match=r"first at layer 'detector\.vision\.blocks\.2\.ln_1'"):
        gate.check(path, "fp32")


def test_smoothing_upside_down(gate, fp32, edit_graph):
    path = edit_graph(fp32, **{"detector.smooth.rows": lambda rows: rows[::-1].copy()})
    with pytest.raises(ParityError, match=r"first at layer 'detector\.smooth'"):
        gate.check(path, "fp32")


def test_a_fault_after_the_last_layer_is_said_to_be_there(gate, fp32, edit_graph):
    path = edit_graph(fp32, **{"detector/Clip.constant2": lambda limit: limit * 0.2})
    with pytest.raises(ParityError, match="between the last layer and the outputs"):
        gate.check(path, "fp32")


def test_a_truncated_graph_is_one_line(gate, fp32, tmp_path):
    path = tmp_path / "model.fp32.onnx"
    path.write_bytes(fp32.read_bytes()[:5000])
    with pytest.raises(ParityError, match=r"ONNX Runtime refuses model\.fp32\.onnx"):
        gate.check(path, "fp32")


def test_allowed_loss_is_recorded_with_its_reason(gate, fp32, edit_graph):
    path = edit_graph(fp32, **{"graph/Gather.constant1": np.sort})
    lenient = Gate(gate.build, gate.frames, gate.reference, gate.spec, allow_loss=True)
    record = lenient.check(path, "fp32")
    assert record.map_max_abs > 1e-4
    assert "allowed by --allow-parity-loss: worst on frame-" in record.evidence


def test_what_is_not_a_number_cannot_be_allowed(gate, fp32, edit_graph):
    path = edit_graph(fp32, **{"detector.vision.proj": lambda proj: proj * np.nan})
    lenient = Gate(gate.build, gate.frames, gate.reference, gate.spec, allow_loss=True)
    with pytest.raises(ParityError, match="score off by nan"):
        lenient.check(path, "fp32")


@pytest.fixture(scope="module")
def half(gate, build_dive, spec):
    return gate.try_half(DeploymentGraph(build_dive().bake(), spec, "fp16"))


@pytest.fixture
def fp16(artifact):
    return artifact.path / "model.fp16.onnx"


def test_evidence_says_that_a_cpu_emulates_half_precision(gate, fp16, half):
    record = gate.check(fp16, "fp16", half)
    assert record.evidence.startswith("FP16 emulated on CPU; PyTorch half on CPU, 3 frames")
    assert 1 < record.largest_magnitude < 1000


def test_an_overflow_that_the_outputs_hide(gate, fp16, half, edit_graph):
    def out_of_range(bias):
        bias[-32:] += 10_000  # the values: their sum leaves the range, they do not
        return bias

    path = edit_graph(fp16, **{"detector.vision.blocks.0.attn.in_proj_bias": out_of_range})
    with pytest.raises(ParityError, match=r"tensor 'detector\.vision\.blocks\.1/.*' reaches"):
        gate.check(path, "fp16", half)


def test_a_detector_that_overflows_in_pytorch_half(gate, build_dive, spec):
    baked = build_dive().bake()
    baked.vision.conv1.weight.data *= 1e5
    half = gate.try_half(DeploymentGraph(baked, spec, "fp16"))
    assert "PyTorch in half precision, worst on frame-" in half.faults[0]


def test_labelled_images_are_judged_alike_and_few_of_them_show_little(labelled_gate, fp32):
    # One pair of a hundred is a whole point of AUROC, ten times the budget.
    with pytest.raises(ParityError, match="10 good and 10 defective images are too few to show"):
        labelled_gate.check(fp32, "fp32")
    record = replace(labelled_gate, allow_loss=True).check(fp32, "fp32")
    assert record.data.verdict == "not shown"
    assert record.data.deltas["image_auroc"].value == 0
    assert record.data.kendall_tau == 1
    assert record.data.map_max_abs < 1e-5
    assert "too few to show" in record.evidence


def test_a_loss_that_only_labelled_images_show(labelled_gate, fp32, edit_graph):
    # The golden frames are those of a sound graph, so that only the labelled ones can tell.
    def turn(values):
        return -values

    path = edit_graph(fp32, **{"detector.head.direction": turn})
    found = replay.replay_onnx(path, labelled_gate.frames, labelled_gate.spec)
    blind = replace(labelled_gate, reference=found)
    with pytest.raises(ParityError) as error:
        blind.check(path, "fp32")
    line = str(error.value)
    assert "on striped it moves image auroc" in line and "that is over" in line
    assert "worst on part" in line
    assert "first at layer 'detector.smooth'" in line


def scaled(factor):
    return lambda values: values * values.dtype.type(factor)


def transposed(values):
    return np.ascontiguousarray(values.T)


def half_a_patch_down(rows):
    step = rows.shape[0] // rows.shape[1] // 2
    return np.concatenate([rows[:1].repeat(step, axis=0), rows[:-step]])


def smoothed(values):
    """Rows and columns of a Gaussian of 2 px where there should be one of a quarter."""
    out, inner = max(values.shape), min(values.shape)
    matrix = upsample_blur_matrix(out, inner, 2.0).astype(values.dtype)
    return matrix if values.shape == matrix.shape else matrix.T.copy()


def imagenet_std(scale):
    return (1 / (255 * np.array([0.229, 0.224, 0.225]))).reshape(scale.shape).astype(scale.dtype)


PLANTED = {
    "a scale off by ten": {"detector.vision.blocks.1.mlp.c_fc/MatMul.constant1": scaled(10)},
    "a scale a tenth": {"detector.vision.blocks.1.mlp.c_proj.bias": scaled(0.1)},
    "swapped colours": {"graph/Gather.constant1": np.sort},
    "another normalisation": {"graph/Mul.constant1": imagenet_std},
    "a transposed projection": {
        "detector.vision.blocks.2.attn.out_proj/MatMul.constant1": transposed
    },
    "a map half a patch off": {"detector.smooth.rows": half_a_patch_down},
    "a Gaussian of another width": {
        "detector.smooth.rows": smoothed,
        "detector.smooth.columns": smoothed,
    },
}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("fault", PLANTED)
def test_planted_weights(gate, artifact, edit_graph, fault, precision):
    exact = artifact.path / "model.fp32.onnx"
    path = edit_graph(artifact.path / f"model.{precision}.onnx", **PLANTED[fault])
    with pytest.raises(ParityError) as error:
        gate.check(path, precision, exact=exact if precision == "fp16" else None)
    if precision == "fp16":
        node = next(iter(PLANTED[fault])).removesuffix(".constant1").removesuffix(".bias")
        assert "has other weights than in float32" in str(error.value)
        assert f"'{node}" in str(error.value) or "detector.smooth/MatMul" in str(error.value)


def test_weights_of_two_blocks_in_each_others_place(gate, fp32, artifact, edit_graph):
    first, second = (f"detector.vision.blocks.{i}.mlp.c_fc/MatMul.constant1" for i in (0, 1))
    for precision in ("fp32", "fp16"):
        source = artifact.path / f"model.{precision}.onnx"
        stored = {w.name: numpy_helper.to_array(w) for w in onnx.load(source).graph.initializer}
        swap = {first: lambda _: stored[second], second: lambda _: stored[first]}  # noqa: B023
        with pytest.raises(ParityError, match=r"detector\.vision\.blocks\.0\.mlp\.c_fc"):
            gate.check(
                edit_graph(source, **swap), precision, exact=fp32 if precision == "fp16" else None
            )


def test_position_table_resized_bilinearly(gate, fp32, edit_graph, small_clip):
    native = load_backbone("zsad-test-export", pretrained="random:3").vision.positional_embedding
    grid = native.detach()[1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)

    def resized(table, mode):
        made = F.interpolate(grid, (4, 5), mode=mode, antialias=True, align_corners=False)
        return np.concatenate([table[:1], made.permute(0, 2, 3, 1).reshape(20, -1).numpy()])

    name = "detector.vision.positional_embedding"
    gate.check(edit_graph(fp32, **{name: lambda table: resized(table, "bicubic")}), "fp32")
    with pytest.raises(ParityError, match=r"first at layer 'detector\.vision\.ln_pre'"):
        gate.check(edit_graph(fp32, **{name: lambda table: resized(table, "bilinear")}), "fp32")


def norm_of(graph):
    return next(n for n in graph.node if n.name.startswith("detector.vision.blocks.1.ln_2/"))


def in_int8(graph):
    """Quantize what a LayerNorm reads, finely enough to be lost among half precision's rounding."""
    norm = norm_of(graph)
    kind = np.float16 if norm.input[1] in half_weights(graph) else np.float32
    scale, zero = kind(8 / 127), np.int8(0)
    for value, name in ((scale, "planted.scale"), (zero, "planted.zero")):
        graph.initializer.append(numpy_helper.from_array(value, name))
    at = list(graph.node).index(norm)
    parameters = ["planted.scale", "planted.zero"]
    back = helper.make_node("DequantizeLinear", ["planted.q", *parameters], ["planted.dq"])
    there = helper.make_node("QuantizeLinear", [norm.input[0], *parameters], ["planted.q"])
    there.name, back.name = "planted/Quantize", "planted/Dequantize"
    graph.node.insert(at, back)
    graph.node.insert(at, there)
    norm.input[0] = "planted.dq"


def half_weights(graph):
    return {w.name for w in graph.initializer if w.data_type == TensorProto.FLOAT16}


def without_epsilon(graph):
    next(a for a in norm_of(graph).attribute if a.name == "epsilon").f = 0.0


def test_a_layer_norm_in_int8_is_more_than_rounding(gate, fp16, fp32, edit_graph):
    with pytest.raises(ParityError, match="worst on frame-"):
        gate.check(edit_graph(fp32, in_int8), "fp32")
    with pytest.raises(ParityError, match=r"'planted/Quantize' \(QuantizeLinear\) is not in the"):
        gate.check(edit_graph(fp16, in_int8), "fp16", exact=fp32)


def test_an_epsilon_that_is_gone(gate, fp16, fp32, edit_graph):
    with pytest.raises(ParityError, match=r"blocks\.1\.ln_2.* has other attributes"):
        gate.check(edit_graph(fp16, without_epsilon), "fp16", exact=fp32)


def test_an_epsilon_that_vanishes_in_half_precision(gate, fp16, fp32, edit_graph):
    # What F.normalize does where a head is not kept in float32.
    def tiny(graph):
        found = next(
            w for w in graph.initializer if w.name == "detector.vision.blocks.0/Mul.constant1"
        )
        kind = numpy_helper.to_array(found).dtype
        found.CopyFrom(numpy_helper.from_array(np.asarray(1e-12, kind), found.name))

    exact = edit_graph(fp32, tiny)
    with pytest.raises(ParityError, match="has weights that vanish in half precision"):
        gate.check(edit_graph(fp16, tiny), "fp16", exact=exact)
