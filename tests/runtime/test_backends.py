import logging
import sys
import time
import types

import numpy as np
import onnx
import pytest
from onnx import external_data_helper

from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.backends.base import choose_precision
from zsad.backends.ort import OrtBackend
from zsad.backends.threads import Threads
from zsad.errors import InferenceError, InputError

IMAGE = {"image": np.full((1, 8, 12, 3), 51, np.uint8)}


def test_a_graph_answers_by_name_for_any_batch(make_artifact):
    with open_backend(Artifact.open(make_artifact())) as backend:
        batch = np.stack([np.full((8, 12, 3), level, np.uint8) for level in (0, 51, 255)])
        outputs = backend.infer({"image": batch})
        assert set(outputs) == {"score", "anomaly_map", "score_logit"}
        np.testing.assert_allclose(outputs["score"], [0, 0.2, 1], atol=1e-6)
        assert outputs["anomaly_map"].shape == (3, 8, 12)
        assert (backend.name, backend.provider) == ("cpu", "CPUExecutionProvider")
        assert [(s.name, s.dtype) for s in backend.inputs] == [("image", "uint8")]


def test_external_weights_beside_the_graph_are_loaded(make_artifact, reseal):
    path = make_artifact()
    model = onnx.load(path / "model.fp32.onnx")
    external_data_helper.convert_model_to_external_data(
        model, location="model.fp32.data", size_threshold=0
    )
    onnx.save(model, path / "model.fp32.onnx")
    reseal(path)
    assert "model.fp32.data" in Artifact.open(path).manifest.files
    with open_backend(Artifact.open(path)) as backend:
        assert backend.infer(IMAGE)["score"][0] == pytest.approx(0.2)


def test_a_closed_backend_says_so(make_artifact):
    backend = open_backend(Artifact.open(make_artifact()))
    backend.close()
    backend.close()
    with pytest.raises(InputError, match="is closed"):
        backend.infer(IMAGE)


def test_a_failure_while_running_is_an_inference_error(make_artifact):
    with (
        open_backend(Artifact.open(make_artifact())) as backend,
        pytest.raises(InferenceError, match="CPUExecutionProvider failed"),
    ):
        backend.infer({"image": np.zeros((1, 9, 12, 3), np.uint8)})


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_graph_is_one_line(make_artifact, reseal, share):
    path = make_artifact()
    content = (path / "model.fp32.onnx").read_bytes()
    (path / "model.fp32.onnx").write_bytes(content[: int(len(content) * share)])
    reseal(path)
    with pytest.raises(InputError, match=r"model\.fp32\.onnx cannot be loaded") as caught:
        open_backend(Artifact.open(path))
    assert "\n" not in str(caught.value)


def test_names_and_numbers_that_cannot_be_are_refused(make_artifact):
    artifact = Artifact.open(make_artifact())
    with pytest.raises(InputError, match="unknown backend 'gpu': choose one of auto, cpu"):
        open_backend(artifact, backend="gpu")
    with pytest.raises(InputError, match="threads must be at least 1"):
        open_backend(artifact, threads=0)
    with pytest.raises(InputError, match="no int8 graph"):
        open_backend(artifact, "int8")


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("inputs", {"shape": ["N", 9, 12, 3]}, r"input image uint8\(N, 8, 12, 3\), the manifest"),
        ("inputs", {"dtype": "float32"}, r"says image float32"),
        ("inputs", {"shape": [1, 8, 12, 3]}, r"says image uint8\(1, 8, 12, 3\)"),
        ("inputs", {"name": "frame"}, "has no input 'frame'"),
        ("outputs", {"name": "type_map"}, "has no output 'type_map'"),
        ("inputs", None, "asks for an input 'image' that the manifest lacks"),
    ],
)
def test_a_graph_must_be_what_the_manifest_says(
    make_artifact, edit_manifest, part, change, message
):
    path = make_artifact()
    with edit_manifest(path) as manifest:
        if change is None:
            manifest[part] = []
        else:
            manifest[part][0].update(change)
    with pytest.raises(InputError, match=message):
        open_backend(Artifact.open(path))


def test_an_engine_that_is_refused_is_freed(make_artifact, edit_manifest, monkeypatch):
    closed = []
    monkeypatch.setattr("zsad.backends.ort.OrtBackend.close", lambda self: closed.append(self))
    path = make_artifact()
    with edit_manifest(path) as manifest:
        manifest["inputs"] = []
    with pytest.raises(InputError, match="manifest lacks"):
        open_backend(Artifact.open(path))
    assert len(closed) == 1


def test_a_cpu_prefers_fp32_over_fp16(make_artifact):
    manifest = Artifact.open(make_artifact(precisions=("fp16", "fp32"))).manifest
    assert choose_precision(manifest, "cpu") == "fp32"
    assert choose_precision(manifest, "cuda") == "fp16"


def test_the_default_holds_where_there_is_no_better(make_artifact):
    only = Artifact.open(make_artifact("a", precisions=("fp16",))).manifest
    int8 = Artifact.open(make_artifact("b", precisions=("int8", "fp32"))).manifest
    assert choose_precision(only, "cpu") == "fp16"
    assert choose_precision(int8, "cpu") == "int8"


@pytest.mark.parametrize("backend", ["cpu", "auto"])
@pytest.mark.parametrize(
    ("precision", "saturates"), [("int8", True), ("int8", False), ("fp32", True)]
)
def test_int8_on_a_processor_that_saturates_is_said_once(
    make_artifact, monkeypatch, caplog, backend, precision, saturates
):
    monkeypatch.setattr("zsad.backends.base.saturates_int8", lambda: saturates)
    artifact = Artifact.open(make_artifact(precisions=("int8", "fp32")))
    open_backend(artifact, precision, backend).close()
    assert caplog.text.count("has no VNNI") == (precision == "int8" and saturates)


def test_int8_on_a_gpu_does_not_saturate_whatever_the_processor(monkeypatch, caplog, make_artifact):
    class OnGpu(OrtBackend):
        def __init__(self, artifact, precision, name, threads):
            super().__init__(artifact, precision, "cpu", threads)
            self.name = name

    monkeypatch.setattr("zsad.backends.base.saturates_int8", lambda: True)
    monkeypatch.setattr("zsad.backends.base.OPENERS", {"cuda": OnGpu})
    artifact = Artifact.open(make_artifact(precisions=("int8",)))
    open_backend(artifact, "int8", "cuda").close()
    assert "VNNI" not in caplog.text


def test_a_graph_that_the_recipe_covers_comes_first(make_artifact):
    manifest = Artifact.open(make_artifact(precisions=("fp16", "fp32"))).manifest
    fp16, fp32 = manifest.graphs["fp16"].sha256, manifest.graphs["fp32"].sha256
    assert choose_precision(manifest, "cpu", {fp16}) == "fp16"
    assert choose_precision(manifest, "cuda", {fp32}) == "fp32"
    assert choose_precision(manifest, "cpu", {fp16, fp32}) == "fp32"
    assert choose_precision(manifest, "cuda", {"other"}) == "fp16"


class FakeNode:
    def __init__(self, name, shape, kind):
        self.name, self.shape, self.type = name, shape, kind


class FakeOptions(types.SimpleNamespace):
    def add_session_config_entry(self, key, value):
        setattr(self, key, value)


def fake_onnxruntime(offered, loads, log):
    """An onnxruntime that offers some providers, of which only some really load."""

    class Session:
        def __init__(self, path, options, providers, enable_fallback):
            names = [name for name, _ in providers]
            log.append((names, dict(providers), enable_fallback, options))
            self._providers = [name for name in names if name in loads]

        def run(self, names, feeds, options=None):
            time.sleep(0.002 if self._providers[0] == CPU else 0)
            return [np.zeros(1) for _ in names]

        def get_providers(self):
            return self._providers

        def get_inputs(self):
            return [FakeNode("image", ["N", 8, 12, 3], "tensor(uint8)")]

        def get_outputs(self):
            return [
                FakeNode("score", ["N"], "tensor(float)"),
                FakeNode("anomaly_map", ["N", 8, 12], "tensor(float)"),
                FakeNode("score_logit", ["N"], "tensor(float)"),
            ]

    module = types.ModuleType("onnxruntime")
    module.__version__ = "1.99"
    module.get_available_providers = lambda: list(offered)
    module.SessionOptions = FakeOptions
    module.InferenceSession = Session
    module.preload_dlls = lambda: print("noise on standard output")
    module.set_default_logger_severity = lambda severity: None
    return module


CPU, CUDA, TRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.fixture
def fake(monkeypatch, tmp_path):
    log = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def install(offered, loads):
        monkeypatch.setitem(sys.modules, "onnxruntime", fake_onnxruntime(offered, loads, log))
        return log

    return install


def test_a_provider_that_is_not_offered_names_the_fix(fake, make_artifact):
    log = fake([CPU], [CPU])
    with pytest.raises(InputError, match=f"needs {CUDA}, .* only {CPU}: .*onnxruntime-gpu"):
        open_backend(Artifact.open(make_artifact()), backend="cuda")
    assert log == []


@pytest.mark.parametrize("backend", ["cuda", "cuda-graph", "ort-tensorrt"])
def test_a_provider_that_is_offered_but_does_not_load_is_an_error(fake, make_artifact, backend):
    fake([TRT, CUDA, CPU], [CPU])
    with pytest.raises(
        InputError, match=f"'{backend}' was asked for, but the session runs on {CPU}"
    ):
        open_backend(Artifact.open(make_artifact()), backend=backend)


def test_tensorrt_that_gets_cuda_is_an_error(fake, make_artifact):
    fake([TRT, CUDA, CPU], [CUDA, CPU])
    with pytest.raises(InputError, match=f"the session runs on {CUDA}"):
        open_backend(Artifact.open(make_artifact()), backend="ort-tensorrt")


def test_a_provider_that_loads_is_used_without_silent_fallback(fake, make_artifact, capsys):
    log = fake([TRT, CUDA, CPU], [TRT, CUDA, CPU])
    artifact = Artifact.open(make_artifact(precisions=("fp16", "fp32")))
    with open_backend(artifact, backend="cuda", threads=3) as backend:
        assert (backend.name, backend.provider, backend.precision) == ("cuda", CUDA, "fp16")
    names, _, fallback, options = log[0]
    assert (names, fallback, options.intra_op_num_threads) == ([CUDA, CPU], 0, 3)
    assert vars(options)["session.force_spinning_stop"] == "1"
    assert capsys.readouterr().out == ""


def test_threads_spin_within_a_run_unless_told_otherwise(make_artifact):
    artifact, key = Artifact.open(make_artifact()), "session.intra_op.allow_spinning"
    with open_backend(artifact, backend="cpu", threads=2) as backend:
        options = backend._session.get_session_options()
        assert options.intra_op_num_threads == 2
        with pytest.raises(RuntimeError, match=key):  # as the library likes
            options.get_session_config_entry(key)
    with open_backend(artifact, backend="cpu", threads=Threads(2, spin=False)) as backend:
        options = backend._session.get_session_options()
        assert options.intra_op_num_threads == 2
        assert options.get_session_config_entry(key) == "0"


def test_tensorrt_keeps_its_engines_per_graph(fake, make_artifact, tmp_path):
    log = fake([TRT, CUDA, CPU], [TRT, CUDA, CPU])
    artifact = Artifact.open(make_artifact())
    with open_backend(artifact, backend="ort-tensorrt") as backend:
        assert backend.provider == TRT
    cache = log[0][1][TRT]["trt_engine_cache_path"]
    assert cache == str(tmp_path / "cache/zsad/ort-tensorrt" / artifact.graph().sha256)


@pytest.mark.parametrize("backend", ["cuda", "ort-tensorrt"])
@pytest.mark.parametrize(
    ("version", "options"),
    [("1.99", {"use_tf32": "0"}), ("1.18.0", {"use_tf32": "0"}), ("1.17.3", {})],
)
def test_cuda_multiplies_what_the_graph_says(fake, make_artifact, backend, version, options):
    log = fake([TRT, CUDA, CPU], [TRT, CUDA, CPU])
    sys.modules["onnxruntime"].__version__ = version
    open_backend(Artifact.open(make_artifact()), backend=backend).close()
    assert log[0][1][CUDA] == options and log[0][1][CPU] == {}


def test_cuda_graphs_are_asked_for_and_named(fake, make_artifact):
    log = fake([CUDA, CPU], [CUDA, CPU])
    with open_backend(Artifact.open(make_artifact()), backend="cuda-graph") as backend:
        assert (backend.name, backend.provider) == ("cuda-graph", f"{CUDA} by CUDA graphs")
    assert log[0][1][CUDA] == {"use_tf32": "0", "enable_cuda_graph": "1"}


def test_cuda_graphs_need_a_release_that_has_one_per_shape(fake, make_artifact):
    log = fake([CUDA, CPU], [CUDA, CPU])
    sys.modules["onnxruntime"].__version__ = "1.17.3"
    with pytest.raises(InputError, match=r"'cuda-graph' needs onnxruntime-gpu 1\.18 or newer"):
        open_backend(Artifact.open(make_artifact()), backend="cuda-graph")
    assert log == []


def test_auto_takes_cuda_where_it_is_faster_and_never_tensorrt(fake, make_artifact):
    fake([TRT, CUDA, CPU], [TRT, CUDA, CPU])
    with open_backend(Artifact.open(make_artifact())) as backend:
        assert backend.name == "cuda"


def test_auto_goes_on_with_the_cpu_and_says_why(fake, make_artifact, caplog):
    fake([CUDA, CPU], [CPU])
    artifact = Artifact.open(make_artifact(precisions=("fp16", "fp32")))
    with caplog.at_level(logging.WARNING), open_backend(artifact) as backend:
        assert (backend.name, backend.precision) == ("cpu", "fp32")
    assert "the session runs on CPUExecutionProvider" in caplog.text
    assert "going on without cuda" in caplog.text


def test_a_missing_or_damaged_onnxruntime_names_the_fix(make_artifact, monkeypatch):
    artifact = Artifact.open(make_artifact())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"cannot be imported .* pip install onnxruntime"):
        open_backend(artifact)
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    with pytest.raises(InputError, match="is damaged"):
        open_backend(artifact)
