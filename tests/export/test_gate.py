"""Planted faults: each of them has shipped in somebody's product, none may leave this house."""

import cv2
import numpy as np
import pytest

from zsad.errors import ParityError
from zsad_export import replay
from zsad_export.gate import Gate
from zsad_export.graph import DeploymentGraph
from zsad_export.reference import run_reference


@pytest.fixture(scope="module")
def gate(build_dive, frames, spec):
    return Gate(build_dive, frames, run_reference(build_dive(), frames, spec), spec)


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
