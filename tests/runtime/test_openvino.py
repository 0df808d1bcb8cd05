"""OpenVINO for real, on artifacts whose answers are known by hand."""

import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from zsad import Detector
from zsad.arithmetic import ARITHMETIC
from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.backends.base import choose_precision
from zsad.backends.openvino import HINTS
from zsad.backends.reduced import PASSED
from zsad.errors import InferenceError, InputError, MissingExtraError
from zsad.recipe import SCHEMA, Bound, Calibration, Recipe
from zsad.types import Verdict

openvino = pytest.importorskip("openvino")

GREY = {"image": np.full((1, 8, 12, 3), 51, np.uint8)}


@pytest.fixture
def opened(make_artifact):
    with open_backend(Artifact.open(make_artifact()), backend="openvino") as backend:
        yield backend


@pytest.mark.parametrize("count", [1, 3])
def test_a_graph_answers_by_name_for_any_batch(opened, count):
    levels = [0, 51, 255][:count]
    outputs = opened.infer({"image": np.stack([np.full((8, 12, 3), v, np.uint8) for v in levels])})
    assert set(outputs) == {"score", "anomaly_map", "score_logit"}
    np.testing.assert_allclose(outputs["score"], [0, 0.2, 1][:count], atol=1e-6)
    assert outputs["anomaly_map"].shape == (count, 8, 12)
    assert (opened.name, opened.provider, opened.precision) == (
        "openvino",
        "OpenVINO CPU f32",
        "fp32",
    )


def test_blue_green_red_reach_the_graph_as_they_are(opened):
    frame = np.zeros((1, 8, 12, 3), np.uint8)
    frame[0, :, :6, 0], frame[0, :4, :, 2] = 255, 102
    grey = opened.infer({"image": frame})["anomaly_map"][0]
    np.testing.assert_allclose(grey, frame[0].mean(axis=2) / 255, atol=1e-6)


def test_a_read_only_image_as_pillow_gives_it_is_judged(opened):
    image = GREY["image"].copy()
    image.flags.writeable = False
    assert opened.infer({"image": image})["score"][0] == pytest.approx(0.2)


@pytest.mark.parametrize("more", [{"image": np.full((1, 8, 12, 3), "a")}, {1.5: GREY["image"]}])
def test_whatever_openvino_raises_is_an_inference_error(opened, more):
    with pytest.raises(InferenceError, match="OpenVINO CPU f32 failed"):  # its own, a TypeError
        opened.infer(GREY | more)


def test_an_answer_stays_as_it_was_when_the_next_frame_is_judged(opened):
    first = opened.infer(GREY)["anomaly_map"]
    opened.infer({"image": np.zeros((1, 8, 12, 3), np.uint8)})
    np.testing.assert_allclose(first, 0.2, atol=1e-6)


def test_text_is_an_input_and_not_baked(make_typed_artifact):
    artifact = Artifact.open(make_typed_artifact())
    tables = [np.float32([[1, 1], [gain, 1], [0.5, 1]]) for gain in (0.25, 0.75)]
    with open_backend(artifact, backend="openvino") as backend:
        scores = [backend.infer({**GREY, "text_table": t})["type_score"] for t in tables]
    np.testing.assert_allclose(np.concatenate(scores), [[0.05, 0.1], [0.15, 0.1]], atol=1e-6)


def test_a_missing_input_is_not_taken_from_the_run_before(make_typed_artifact):
    artifact = Artifact.open(make_typed_artifact())
    with open_backend(artifact, backend="openvino") as backend:
        backend.infer({**GREY, "text_table": np.ones((3, 2), np.float32)})
        with pytest.raises(InferenceError, match="input 'text_table' was not given"):
            backend.infer(GREY)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 9, 12, 3), np.uint8),
        np.zeros((1, 8, 12, 3), np.float32),
        np.zeros((8, 12, 3), np.uint8),
    ],
)
def test_a_wrong_image_is_an_inference_error_in_one_line(opened, image):
    with pytest.raises(InferenceError, match=r"OpenVINO CPU f32 failed: .*input") as caught:
        opened.infer({"image": image})
    assert "\n" not in str(caught.value)


def test_a_closed_backend_says_so(make_artifact):
    backend = open_backend(Artifact.open(make_artifact()), backend="openvino")
    backend.close()
    backend.close()
    with pytest.raises(InputError, match="is closed"):
        backend.infer(GREY)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_graph_is_one_line(make_artifact, reseal, share):
    path = make_artifact()
    content = (path / "model.fp32.onnx").read_bytes()
    (path / "model.fp32.onnx").write_bytes(content[: int(len(content) * share)])
    reseal(path)
    with pytest.raises(InputError, match=r"model\.fp32\.onnx cannot be loaded by") as caught:
        open_backend(Artifact.open(path), backend="openvino")
    assert "\n" not in str(caught.value)


def test_a_graph_must_be_what_the_manifest_says(make_artifact, edit_manifest):
    path = make_artifact()
    with edit_manifest(path) as manifest:
        manifest["inputs"][0]["shape"] = ["N", 9, 12, 3]
    with pytest.raises(InputError, match=r"input image uint8\(\?, 8, 12, 3\), the manifest"):
        open_backend(Artifact.open(path), backend="openvino")


def test_a_missing_package_names_the_extra(make_artifact, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'zsad\[openvino\]'"):
        open_backend(Artifact.open(make_artifact()), backend="openvino")


def test_compiled_graphs_are_kept_by_the_hash_of_the_graph(make_artifact, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    artifact = Artifact.open(make_artifact())
    version = openvino.__version__.partition("-")[0]
    folder = tmp_path / "cache/zsad/openvino" / artifact.graph().sha256 / f"openvino-{version}"
    for _ in range(2):
        with open_backend(artifact, backend="openvino", threads=1) as backend:
            assert backend.infer(GREY)["score"][0] == pytest.approx(0.2)
        assert len(list(folder.iterdir())) == 1


def test_the_compile_cache_stays_below_its_limit(make_artifact, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("zsad.backends.openvino.CACHE_BYTES", 1)
    for gain in (1.0, 2.0):
        artifact = Artifact.open(make_artifact(f"gain-{gain}", gain=gain))
        for _ in range(2):
            with open_backend(artifact, backend="openvino") as backend:
                assert backend.infer(GREY)["score"][0] == pytest.approx(0.2 * gain)
    (kept,) = (tmp_path / "cache/zsad/openvino").iterdir()
    assert kept.name == artifact.graph().sha256 and list(kept.rglob("*.blob"))


def test_bfloat16_keeps_what_its_check_compiled(make_artifact, monkeypatch, tmp_path):
    if not has_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("zsad.backends.openvino.CACHE_BYTES", 1)
    artifact = Artifact.open(make_artifact())
    for _ in range(2):
        with open_backend(artifact, backend="openvino-bf16") as backend:
            assert backend.infer(GREY)["score"][0] == pytest.approx(0.2, abs=1e-2)
    folders = list((tmp_path / "cache/zsad/openvino" / artifact.graph().sha256).iterdir())
    assert len(folders) == 2 and all(list(folder.glob("*.blob")) for folder in folders)


def test_bfloat16_never_opens_what_was_compiled_for_float32(make_artifact, monkeypatch, tmp_path):
    if not has_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = make_artifact(graph=scaled_product().SerializeToString())
    found = {}
    for name in ("openvino", "openvino-bf16", "openvino"):
        with open_backend(Artifact.open(path), backend=name) as backend:
            found.setdefault(name, []).append(backend.infer(GREY)["score"][0])
    exact, again = found["openvino"]
    assert exact == again == pytest.approx(1.001, abs=1e-6)
    assert found["openvino-bf16"] == [pytest.approx(1.0, abs=1e-6)]  # 1.001 has no bfloat16
    folders = (tmp_path / "cache/zsad/openvino").glob("*/*")
    assert len({next(folder.glob("*.blob")).parent for folder in folders}) == 2


def scaled_product():
    """Answers with a product of matrices that bfloat16 rounds: 64 terms of 1.001 / 64 each."""
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels"], ["anomaly_map"], axes=[3], keepdims=0),
        helper.make_node("ReduceMean", ["anomaly_map"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
        helper.make_node("Mul", ["column", "inverse"], ["ones"]),  # (N, 64)
        helper.make_node("MatMul", ["ones", "weights"], ["product"]),
        helper.make_node("ReduceMean", ["product"], ["score"], axes=[1], keepdims=0),
        helper.make_node("Identity", ["score"], ["score_logit"]),
    ]
    constants = {
        "last": np.array([1]),
        "inverse": np.full((1, 64), 1 / 51, np.float32),
        "weights": np.full((64, 64), 1.001 / 64, np.float32),
    }
    shapes = {"score": ["N"], "anomaly_map": ["N", 8, 12], "score_logit": ["N"]}
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 8, 12, 3])
    outputs = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()]
    initializers = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "product", [image], outputs, initializers)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, ir_version=8, opset_imports=opset)


def test_a_cache_that_cannot_be_written_is_said_once_and_costs_no_run(
    make_artifact, monkeypatch, tmp_path, caplog
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    artifact = Artifact.open(make_artifact())
    for _ in range(2):
        with open_backend(artifact, backend="openvino") as backend:
            assert backend.infer(GREY)["score"][0] == pytest.approx(0.2)
    (said,) = [r.getMessage() for r in caplog.records if "compile cache" in r.getMessage()]
    assert said.endswith("compiling at every start, set XDG_CACHE_HOME")


def test_bfloat16_is_checked_at_every_start_where_nothing_can_be_remembered(
    make_artifact, monkeypatch, tmp_path
):
    if not has_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with open_backend(Artifact.open(make_artifact()), backend="openvino-bf16") as backend:
        assert backend.infer(GREY)["score"][0] == pytest.approx(0.2, abs=1e-2)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads are seen on Linux only")
def test_no_thread_is_pinned_to_a_core_that_a_second_process_would_take_too(make_artifact):
    with open_backend(Artifact.open(make_artifact()), backend="openvino", threads=2) as backend:
        backend.infer(GREY)
        threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
        assert {frozenset(os.sched_getaffinity(t)) for t in threads} == {
            frozenset(os.sched_getaffinity(0))
        }


def fake_openvino(capabilities, computes_in):
    """An OpenVINO whose CPU has some capabilities and computes in a type, whatever is asked for."""

    class Core:
        def get_property(self, device, name):
            return capabilities

        def read_model(self, path):
            return path

        def compile_model(self, model, device, config):
            hint = types.SimpleNamespace(get_type_name=lambda: computes_in)
            return types.SimpleNamespace(get_property=lambda name: hint)

    module = types.ModuleType("openvino")
    module.__version__ = "2026.4.1-22982"
    module.Core = Core
    return module


def test_bfloat16_that_the_cpu_lacks_is_an_error(make_artifact, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", fake_openvino(["FP32", "INT8"], "f32"))
    with pytest.raises(InputError, match=r"needs a CPU with bfloat16.* use --backend openvino"):
        open_backend(Artifact.open(make_artifact()), backend="openvino-bf16")


@pytest.mark.parametrize(("name", "found"), [("openvino", "bf16"), ("openvino-bf16", "f32")])
def test_another_precision_than_was_asked_for_is_an_error(make_artifact, monkeypatch, name, found):
    monkeypatch.setitem(sys.modules, "openvino", fake_openvino(["FP32", "BF16"], found))
    with pytest.raises(
        InputError, match=f"'{name}' was asked for, but OpenVINO computes in {found}"
    ):
        open_backend(Artifact.open(make_artifact()), backend=name)


def test_a_cpu_prefers_fp32_over_fp16(make_artifact):
    manifest = Artifact.open(make_artifact(precisions=("fp16", "fp32"))).manifest
    assert [choose_precision(manifest, name) for name in HINTS] == ["fp32", "fp32"]


def test_what_an_earlier_check_passed_is_checked_again(make_artifact, monkeypatch, tmp_path):
    if not has_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    artifact = Artifact.open(make_artifact())
    version = openvino.__version__.partition("-")[0]
    sha256 = artifact.graph().sha256
    folder = tmp_path / "zsad/openvino" / sha256 / f"openvino-bf16-{version}"
    folder.mkdir(parents=True)
    (folder / "passed").write_text("by the check before")
    open_backend(artifact, backend="openvino-bf16").close()
    assert (folder / PASSED).is_file() and PASSED != "passed"


def recipe_for(artifact, arithmetic):
    bound = Bound(0.05, 0.95, 59)
    calibration = Calibration(
        artifact.graph().sha256, "graph", 0.5, bound, (0.1,), arithmetic=arithmetic
    )
    return Recipe(SCHEMA, artifact.manifest.preprocess.sha256, (calibration,))


def has_bfloat16():
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize(
    ("backend", "arithmetic", "verdict"),
    [
        ("openvino", None, Verdict.OK),
        ("openvino", "bf16", Verdict.NO_RESULT),
        ("openvino-bf16", None, Verdict.NO_RESULT),
        ("openvino-bf16", "bf16", Verdict.OK),
    ],
)
def test_a_threshold_serves_the_arithmetic_it_was_taken_in(
    make_artifact, backend, arithmetic, verdict
):
    if backend in ARITHMETIC and not has_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    path = make_artifact()
    recipe = recipe_for(Artifact.open(path), arithmetic)
    with Detector.load(path, recipe, backend=backend) as detector:
        result = detector.predict(GREY["image"][0])
        assert (result.verdict, detector.arithmetic) == (verdict, ARITHMETIC.get(backend))
        if verdict is Verdict.NO_RESULT:
            assert f"on a backend that rounds otherwise than {backend}: run" in result.reason
            assert f"--backend {backend}" in result.reason
