"""INT8 graphs of a whole artifact: written, gated, recorded, compiled, run."""

import dataclasses

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from zsad import Detector
from zsad.artifact import Artifact
from zsad.errors import ParityError
from zsad.golden import read_golden
from zsad_calibration.int8.frames import calibration_images
from zsad_calibration.int8.record import FILE, read_record
from zsad_export.cli.engine import main as engine_command
from zsad_export.cli.export import main as export_command
from zsad_export.gate import Gate
from zsad_export.int8_range import used_ranges
from zsad_export.onnx_types import check_precision

INT8 = ("int8", "int8_fp16")


def activation_scales(path):
    """The names of the scales of all quantized activations, in graph order."""
    graph = onnx.load(path).graph
    stored = {w.name for w in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    return list(dict.fromkeys(n.input[1] for n in nodes if n.input[0] not in stored))


@pytest.fixture(scope="module")
def calib(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    rng = np.random.default_rng(8)
    for index in range(5):
        cv2.imwrite(
            str(folder / f"part{index}.png"), rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)
        )
    return folder


@pytest.fixture(scope="module")
def quantized(checkpoint, calib, engine_cache, tmp_path_factory):
    """What `zsad-export --fp16 --int8` printed, and the artifact."""
    out = tmp_path_factory.mktemp("int8") / "dive"
    arguments = ["--ckpt", checkpoint, "--out", out, "--fp16", "--int8", "--calib", calib]
    arguments += ["--sensitivity", "--sm", "86"]
    result = CliRunner(env={"ZSAD_CACHE": str(engine_cache)}).invoke(
        export_command, list(map(str, arguments))
    )
    assert result.exit_code == 0, result.output
    return result, Artifact.open(out)


@pytest.fixture
def artifact(quantized):
    return quantized[1]


class TestArtifact:
    def test_has_four_graphs_and_int8_is_never_the_default(self, artifact):
        assert list(artifact.manifest.graphs) == ["fp32", "fp16", "int8", "int8_fp16"]
        assert artifact.manifest.default_precision == "fp16"
        assert FILE in artifact.manifest.files

    @pytest.mark.parametrize("precision", INT8)
    def test_keeps_what_the_gate_measured(self, artifact, precision):
        parity = artifact.manifest.parity[precision]
        assert 1e-5 < parity.map_max_abs <= 0.1 and parity.score_max_abs <= 0.05
        assert "linears in INT8" in parity.evidence and "calibrated on 5 frames" in parity.evidence
        assert ("FP16 emulated on CPU" in parity.evidence) == (precision == "int8_fp16")
        assert (parity.largest_magnitude is not None) == (precision == "int8_fp16")

    @pytest.mark.parametrize("precision", INT8)
    def test_its_graphs_are_smaller_than_what_they_are_made_from(self, artifact, precision):
        graphs = artifact.manifest.graphs
        source = graphs["fp32" if precision == "int8" else "fp16"]
        sizes = [artifact.file(g.file).stat().st_size for g in (graphs[precision], source)]
        assert sizes[0] < sizes[1]

    @pytest.mark.parametrize("precision", INT8)
    def test_runs_on_onnx_runtime_near_the_reference(self, artifact, precision):
        frames, reference = read_golden(artifact)
        with Detector.load(artifact.path, precision=precision, backend="cpu") as detector:
            results = [detector.predict(frame.image_bgr) for frame in frames]
        maps = np.stack([result.anomaly_map for result in results])
        np.testing.assert_allclose(maps, reference.anomaly_maps, atol=0.1)
        np.testing.assert_allclose([r.score for r in results], reference.scores, atol=0.05)

    def test_names_every_linear_and_how_it_was_quantized(self, artifact):
        record = read_record(artifact.file(FILE))
        names = [linear.layer for linear in record.linears]
        assert names[:4] == [
            "vision.blocks.0.attn.in_proj",
            "vision.blocks.0.attn.out_proj",
            "vision.blocks.0.mlp.c_fc",
            "vision.blocks.0.mlp.c_proj",
        ]
        assert record.share == 1.0 and (record.source, record.frames)[1] == 5
        assert {one.unit for one in record.sensitivity} == set(names)

    def test_prints_the_share_and_the_worst_linears(self, quantized):
        lines = quantized[0].stdout.splitlines()
        (line,) = (text for text in lines if text.startswith(FILE))
        assert "linears in INT8 (100% of their weights)" in line
        assert "in INT8 alone" in lines[lines.index(line) + 1]


class TestCompilers:
    @pytest.mark.parametrize("precision", INT8)
    def test_tensorrt_rtx_compiles_int8_weights(self, quantized, precision):
        pytest.importorskip("tensorrt_rtx")
        lines = quantized[0].stdout.splitlines()
        (line,) = (text for text in lines if text.startswith(f"TensorRT-RTX {precision}:"))
        assert "built by tensorrt_rtx" in line and "12 INT8 weights" in line

    def test_zsad_engine_builds_it_by_name(self, artifact):
        pytest.importorskip("tensorrt_rtx")
        result = CliRunner().invoke(
            engine_command, [str(artifact.path), "--int8-fp16", "--rtx", "--sm", "86"]
        )
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("int8_fp16: ")

    def test_a_network_without_int8_weights_is_not_sold_as_int8(self, artifact):
        pytest.importorskip("tensorrt_rtx")
        from zsad.errors import EngineError
        from zsad.tensorrt_package import RTX
        from zsad_export.tensorrt_api import Compiler

        path = artifact.file("model.fp32.onnx")
        with pytest.raises(EngineError, match="no weight of it is INT8"):
            Compiler(RTX).compile(path, "int8")

    @pytest.mark.parametrize("precision", INT8)
    def test_openvino_agrees(self, artifact, precision):
        openvino = pytest.importorskip("openvino")
        path = artifact.file(artifact.graph(precision).file)
        compiled = openvino.Core().compile_model(str(path), "CPU")
        image = np.random.default_rng(1).integers(0, 256, (1, 32, 40, 3), dtype=np.uint8)
        found = compiled({"image": image})["anomaly_map"]
        with Detector.load(artifact.path, precision=precision, backend="cpu") as detector:
            expected = detector.predict(image[0]).anomaly_map
        np.testing.assert_allclose(found[0], expected, atol=0.05)


class TestGate:
    """Faults that others have shipped, each planted into the real INT8 graph."""

    @pytest.fixture
    def gate(self, artifact, build_dive):
        frames, reference = read_golden(artifact)
        return Gate(build_dive, frames, reference, artifact.manifest.preprocess)

    @pytest.fixture
    def calibrated(self, artifact, calib):
        return calibration_images(str(calib), 5, artifact.manifest.preprocess)

    def test_a_scale_off_by_10_is_caught_and_named(self, gate, artifact, edit_graph):
        graph = onnx.load(artifact.file("model.int8.onnx")).graph
        prefix = "detector.vision.blocks.1/MatMul.constant1"
        names = [w.name for w in graph.initializer if w.name.startswith(prefix)]
        (scale,) = (name for name in names if name.endswith(".scale"))
        path = edit_graph(artifact.file("model.int8.onnx"), **{scale: lambda value: value * 10})
        with pytest.raises(ParityError, match=r"worst on frame-.*vision\.blocks\.1"):
            gate.check(path, "int8")

    @pytest.mark.parametrize("precision", INT8)
    @pytest.mark.parametrize(("factor", "word"), [(10, "wide"), (0.1, "narrow")])
    def test_a_range_off_by_10_is_caught_at_every_linear(
        self, artifact, edit_graph, calibrated, precision, factor, word
    ):
        file = artifact.file(f"model.{precision}.onnx")
        sound = used_ranges(file, calibrated)
        assert len(sound) >= 8 and all(each.fault is None for each in sound)
        scales = activation_scales(file)
        for chosen in (scales[0::2], scales[1::2]):
            path = edit_graph(file, **{scale: lambda value: value * factor for scale in chosen})
            found = used_ranges(path, calibrated)
            assert sum(f"too {word}" in str(each.fault) for each in found) >= len(chosen)

    @pytest.mark.parametrize(("factor", "word"), [(10, "wide"), (0.1, "narrow")])
    def test_one_range_off_by_10_does_not_leave_the_house(
        self, gate, artifact, edit_graph, calibrated, factor, word
    ):
        """Scores and maps of this graph are within every limit."""
        file = artifact.file("model.int8.onnx")
        scale = activation_scales(file)[0]
        path = edit_graph(file, **{scale: lambda value: value * factor})
        gate.check(path, "int8")
        with pytest.raises(ParityError, match=f"INT8 range of '.*blocks.* too {word}"):
            gate.check(path, "int8", calibrated=calibrated)

    def test_layer_norm_in_int8_is_caught_by_its_type(self, artifact, edit_graph):
        def quantize(graph):
            norm = next(n for n in graph.node if n.op_type == "LayerNormalization")
            index = list(graph.node).index(norm)
            source = norm.input[0]
            for name, value in (("s", np.float32(0.05)), ("z", np.int8(0))):
                graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
            norm.input[0] = "dq"
            graph.node.insert(index, helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"]))
            graph.node.insert(index, helper.make_node("QuantizeLinear", [source, "s", "z"], ["q"]))
            for value, kind in (("q", TensorProto.INT8), ("dq", TensorProto.FLOAT)):
                graph.value_info.append(helper.make_tensor_value_info(value, kind, None))

        path = edit_graph(artifact.file("model.int8.onnx"), quantize)
        with pytest.raises(ParityError, match=r"LayerNormalization\) reads INT8, which is for"):
            check_precision(path, "int8")

    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_a_float_graph_is_not_sold_as_int8(self, artifact, precision):
        wanted = "int8" if precision == "fp32" else "int8_fp16"
        with pytest.raises(ParityError, match="no linear in it reads INT8"):
            check_precision(artifact.file(f"model.{precision}.onnx"), wanted)


def test_auto_keeps_the_worst_linears_in_float_until_the_limits_hold(
    checkpoint, calib, tmp_path, monkeypatch
):
    from zsad.parity import LIMITS
    from zsad_export import gate, int8_export

    # So tight that the whole graph in INT8 is over them.
    limits = dataclasses.replace(LIMITS["int8"], score_max_abs=4e-3, map_max_abs=8e-3)
    tight = {**LIMITS, "int8": limits}
    for module in (gate, int8_export):
        monkeypatch.setattr(module, "LIMITS", tight)
    monkeypatch.setattr(int8_export, "saturates_int8", lambda: True)
    arguments = ["--ckpt", checkpoint, "--out", tmp_path / "a", "--int8", "auto", "--calib", calib]
    result = CliRunner().invoke(export_command, [*map(str, arguments), "--no-engine"])
    assert result.exit_code == 0, result.output
    record = read_record(tmp_path / "a" / FILE)
    kept = [linear.layer for linear in record.linears if not linear.int8]
    assert 0 < len(kept) < len(record.linears)
    assert set(kept) == {one.unit for one in record.sensitivity[: len(kept)]}
    assert "is over the limits" in result.stderr and "in floating point: " in result.stdout
    assert result.stderr.count("no VNNI") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calib", "."], "--calib goes with --int8"),
        (["--calib-frames", "4"], "--calib-frames goes with --int8"),
        (["--sensitivity"], "--sensitivity goes with --int8"),
        (["--int8", "--calib", "empty"], "empty holds no image"),
        (["--int8", "--calib", "nowhere"], "unknown data set 'nowhere'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments, message, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(
        export_command, ["--ckpt", str(checkpoint), "--out", "out", *arguments]
    )
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


def test_a_corrupt_calibration_image_is_named(checkpoint, calib, tmp_path):
    folder = tmp_path / "line"
    folder.mkdir()
    (folder / "torn.png").write_bytes((calib / "part0.png").read_bytes()[:900])
    arguments = ["--ckpt", checkpoint, "--out", tmp_path / "out", "--int8", "--calib", folder]
    result = CliRunner().invoke(export_command, list(map(str, arguments)))
    assert result.exit_code == 2 and "torn.png" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
