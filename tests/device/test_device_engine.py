"""What a device does to an artifact, on what a device has: no torch, no exporter."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.detector import Detector
from zsad.golden import read_golden
from zsad_export.engine import build_rtx_engine

FROZEN = Path(__file__).parents[1] / "data/schema1/artifact"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ZSAD_CACHE", str(tmp_path / "cache"))


def half_graph(height, width):
    """The contract's inputs and outputs around one product in half precision."""
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels"], ["grey"], axes=[3], keepdims=0),
        helper.make_node("Cast", ["grey"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["half", "weights"], ["mixed"]),
        helper.make_node("Cast", ["mixed"], ["anomaly_map"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["anomaly_map"], ["score"], axes=[1, 2], keepdims=0),
        helper.make_node("Identity", ["score"], ["score_logit"]),
    ]
    shapes = {"score": ["N"], "anomaly_map": ["N", height, width], "score_logit": ["N"]}
    graph = helper.make_graph(
        nodes,
        "half",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", height, width, 3])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [numpy_helper.from_array(np.eye(width, dtype=np.float16) / 255, "weights")],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, ir_version=8, opset_imports=opset).SerializeToString()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_nvidias_compiler_builds_what_a_device_was_sent(make_artifact, precision):
    pytest.importorskip("tensorrt_rtx")
    graph = half_graph(8, 16) if precision == "fp16" else None
    path = make_artifact(height=8, width=16, precisions=(precision,), graph=graph)
    built = build_rtx_engine(Artifact.open(path), precision, (86,))
    assert built.path.stat().st_size > 1000
    assert built.record.compute_types["float16"] == (precision == "fp16")


def test_an_artifact_of_the_first_schema_is_judged(tmp_path):
    with Detector.load(FROZEN, backend="cpu") as detector:
        result = detector.predict(np.full((20, 30, 3), 102, np.uint8))
    assert np.isfinite(result.score)


@pytest.fixture(scope="module")
def exported():
    """What today's `zsad-export` made, where `make test-jetpack6` has made one."""
    path = os.environ.get("ZSAD_TEST_ARTIFACT")
    if path is None:
        pytest.skip("only make test-jetpack6 exports an artifact first")
    return Artifact.open(path)


def test_todays_export_answers_as_pytorch_did(exported):
    frames, reference = read_golden(exported)
    # What the gate of an export allows a score and a map.
    for precision, score_limit, map_limit in (("fp32", 1e-4, 1e-4), ("fp16", 5e-3, 2e-2)):
        with Detector(exported, open_backend(exported, precision, "cpu")) as detector:
            found = [detector.predict(frame.image_bgr) for frame in frames]
        scores = np.float32([each.score for each in found])
        maps = np.stack([each.anomaly_map for each in found])
        assert np.abs(scores - reference.scores).max() <= score_limit
        assert np.abs(maps - reference.anomaly_maps).max() <= map_limit


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_nvidias_compiler_builds_todays_export(exported, precision):
    pytest.importorskip("tensorrt_rtx")
    built = build_rtx_engine(exported, precision, (86,))
    assert built.record.compute_types["float16"] == 0 or precision == "fp16"
    assert built.path.stat().st_size > 1_000_000


def test_todays_export_is_of_an_age_that_jetpack_6_reads(exported):
    # ONNX Runtime 1.23 reads IR 10, TensorRT 10.3 parses opset 20.
    for graph in exported.manifest.graphs.values():
        model = onnx.load(exported.file(graph.file), load_external_data=False)
        assert model.ir_version <= 10
        assert graph.opset == next(e.version for e in model.opset_import if not e.domain) <= 20
