"""The native backend on a device that checks every call and computes with ONNX Runtime."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from fake_driver import FakeDriver
from tensorrt_rig import RELEASES, equal, noise

from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.cli.run import main as run_command
from zsad.detector import Detector
from zsad.engine_cache import BuildOptions
from zsad.errors import InputError
from zsad_export.engine import build_native_engine, build_rtx_engine


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize(
    ("cuda", "name"),
    [("pycuda", "tensorrt"), ("cuda-python", "tensorrt"), ("cuda-python", "tensorrt-graph")],
)
def test_answers_are_those_of_the_cpu_to_the_bit(install, artifact, version, cuda, name):
    fake = install(version=version, cuda=(cuda,))
    build_native_engine(artifact)
    with open_backend(artifact, backend="cpu") as cpu, open_backend(artifact, backend=name) as gpu:
        assert (gpu.name, gpu.provider) == (name, f"tensorrt {version} on Orin sm87")
        for seed, count in enumerate((1, 1, 3, 2, 3, 8, 1)):
            feeds = {"image": noise(count, seed)}
            equal(gpu.infer(feeds), cpu.infer(feeds))
            fake.gpu.check_idle()
    fake.gpu.check_clean()


def test_a_text_table_is_an_input_of_any_number_of_rows(install, make_typed_artifact):
    fake = install()
    artifact = Artifact.open(make_typed_artifact())
    build_native_engine(artifact)
    with (
        open_backend(artifact, backend="cpu") as cpu,
        open_backend(artifact, backend="tensorrt") as gpu,
    ):
        for rows in (3, 2, 9):
            table = np.random.default_rng(rows).random((rows, 2), dtype=np.float32)
            feeds = {"image": noise(2), "text_table": table}
            equal(gpu.infer(feeds), cpu.infer(feeds))
    fake.gpu.check_clean()


def test_the_detector_judges_as_on_the_cpu(install, artifact, make_recipe):
    install()
    build_native_engine(artifact)
    frames = [np.random.default_rng(i).integers(0, 256, (40, 30, 3), np.uint8) for i in range(3)]
    recipe = make_recipe(artifact.path, 0.5)
    with (
        Detector.load(artifact.path, recipe, backend="cpu") as cpu,
        Detector.load(artifact.path, recipe, backend="tensorrt") as gpu,
    ):
        for one, other in zip(cpu.predict_batch(frames), gpu.predict_batch(frames), strict=True):
            assert (one.verdict, one.score) == (other.verdict, other.score)
            np.testing.assert_array_equal(one.anomaly_map, other.anomaly_map)


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-graph"])
def test_the_command_runs_on_the_device(install, artifact, grey_folder, name):
    install(cuda=("cuda-python",))
    build_native_engine(artifact)
    arguments = [str(artifact.path), "--images", str(grey_folder()), "--backend"]
    found, expected = (CliRunner().invoke(run_command, [*arguments, b]) for b in (name, "cpu"))
    assert found.exit_code == 0, found.output
    assert "model.fp32.onnx on tensorrt 10.3.0 on Orin sm87" in found.stderr
    scores = [
        [json.loads(line)["score"] for line in r.stdout.splitlines()] for r in (found, expected)
    ]
    assert scores[0] == scores[1]


def test_the_calls_follow_the_documented_order(install, artifact):
    fake = install()
    build_native_engine(artifact)
    with open_backend(artifact, backend="tensorrt") as backend:
        shapes = ["set_input_shape", "infer_shapes", *["set_tensor_address"] * 4]
        for count, expected in ((1, shapes), (1, []), (4, shapes), (4, [])):
            fake.gpu.trace.clear()
            backend.infer({"image": noise(count)})
            assert fake.gpu.trace == [*expected, "execute_async_v3"]


def test_memory_is_kept_until_a_larger_batch_comes(install, artifact):
    fake = install()
    build_native_engine(artifact)
    with open_backend(artifact, backend="tensorrt") as backend:
        backend.infer({"image": noise(4)})
        held = set(fake.gpu.device), set(fake.gpu.pinned)
        for count in (1, 4, 2):
            backend.infer({"image": noise(count)})
            assert (set(fake.gpu.device), set(fake.gpu.pinned)) == held
        backend.infer({"image": noise(5)})
        assert len(fake.gpu.device) == len(fake.gpu.pinned) == 4


def test_a_graph_is_captured_once_per_batch_size(install, artifact):
    fake = install(cuda=("cuda-python",))
    build_native_engine(artifact)
    with open_backend(artifact, backend="tensorrt-graph") as backend:
        for count, executions in ((2, 2), (2, 0), (2, 0), (3, 2), (3, 0)):
            fake.gpu.trace.clear()
            backend.infer({"image": noise(count)})
            # The first of the two warms up, the second is captured.
            assert fake.gpu.trace.count("execute_async_v3") == executions
            assert fake.gpu.trace.count("cudaGraphLaunch") == 1


def test_results_outlive_the_next_call(install, artifact):
    install()
    build_native_engine(artifact)
    with open_backend(artifact, backend="tensorrt") as backend:
        first = backend.infer({"image": noise(2, seed=1)})
        kept = {name: value.copy() for name, value in first.items()}
        backend.infer({"image": noise(2, seed=2)})
        equal(first, kept)


def test_gpu_times_are_taken_apart(install, artifact):
    install()
    build_native_engine(artifact)
    with open_backend(artifact, backend="tensorrt") as backend:
        times = backend.time({"image": noise(2)})
    # The fake GPU's clock moves by 1 ms a run of the engine and by nothing else.
    assert (times.upload_ms, times.compute_ms, times.download_ms) == (0.0, 1.0, 0.0)


def test_the_real_tensorrt_rtx_is_driven_up_to_the_gpu(install, artifact, monkeypatch):
    rtx = pytest.importorskip("tensorrt_rtx")
    fake = install()
    monkeypatch.setattr("zsad.device.ctypes.CDLL", lambda name: FakeDriver("RTX 4090", 89))
    with pytest.raises(InputError, match=f"run zsad-engine {artifact.path} --fp32 --rtx --sm 89"):
        open_backend(artifact, backend="tensorrt-rtx")
    build_rtx_engine(artifact, sms=(86, 89))
    with pytest.raises(
        InputError, match=f"tensorrt_rtx {rtx.__version__} .*cannot load its engine"
    ):
        open_backend(artifact, backend="tensorrt-rtx")
    fake.gpu.check_clean()


def test_what_rtx_compiled_with_tf32_is_only_taken_by_its_name(install, artifact, monkeypatch):
    pytest.importorskip("tensorrt_rtx")
    install()
    monkeypatch.setattr("zsad.device.ctypes.CDLL", lambda name: FakeDriver("RTX 3090", 86))
    build_rtx_engine(artifact, sms=(86,), options=BuildOptions(tf32=True))
    with pytest.raises(InputError, match=r"holds no engine .* --fp32 --rtx --sm 86$"):
        open_backend(artifact, backend="tensorrt-rtx")
    with pytest.raises(InputError, match="cannot load its engine"):  # there is no GPU
        open_backend(artifact, backend="tensorrt-rtx-tf32")
