"""The native backend on a device that checks every call and computes with ONNX Runtime."""

import json
import sys
import threading

import numpy as np
import pytest
from click.testing import CliRunner
from fake_device import FakeDevice
from fake_driver import FakeDriver
from fake_gpu import DeviceFault
from fake_tensorrt import Context

from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.backends.tensorrt import TensorRtBackend
from zsad.cli.run import main as run_command
from zsad.detector import Detector
from zsad.engine_cache import BuildOptions
from zsad.errors import InferenceError, InputError
from zsad.schema import sha256_file
from zsad.types import Verdict
from zsad.watch.identity import identity_of
from zsad_export.engine import build_native_engine, build_rtx_engine

RELEASES = ("10.3.0", "11.4.0.106")


def noise(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 12, 3), dtype=np.uint8)


def equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def build_native_engine_for(install, artifact, version, options):
    install(version=version)
    return build_native_engine(artifact, options=options)


@pytest.fixture
def install(monkeypatch, tmp_path):
    return lambda **options: FakeDevice(monkeypatch, tmp_path / "cache", **options)


@pytest.fixture
def artifact(make_artifact):
    return Artifact.open(make_artifact())


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


class TestRefusals:
    def test_without_an_engine_it_names_the_command(self, install, artifact):
        install()
        with pytest.raises(InputError, match=rf"no engine .* zsad-engine {artifact.path} --fp32"):
            open_backend(artifact, backend="tensorrt")

    @pytest.mark.parametrize("change", ["version", "gpu", "graph"])
    def test_an_engine_of_something_else_is_none(
        self, install, make_artifact, monkeypatch, artifact, change
    ):
        fake = install()
        build_native_engine(artifact)
        if change == "version":
            fake.trt.__version__ = "10.4.0"
        elif change == "gpu":
            monkeypatch.setattr("zsad.device.ctypes.CDLL", lambda name: FakeDriver("Thor", 110))
        else:
            artifact = Artifact.open(make_artifact("other", gain=0.5))
        with pytest.raises(InputError, match="holds no engine"):
            open_backend(artifact, backend="tensorrt")

    def test_the_newest_of_several_engines_is_taken(self, install, artifact):
        install()
        for batch in (8, 1):
            build_native_engine(artifact, options=BuildOptions(batch))
        with (
            open_backend(artifact, backend="tensorrt") as backend,
            pytest.raises(InputError, match=r"up to \(1, 8"),
        ):
            backend.infer({"image": noise(2)})

    def test_the_engine_that_was_asked_for_last_is_taken_though_it_was_cached(
        self, install, artifact
    ):
        install()
        for batch, was_cached in ((8, False), (1, False), (8, True)):
            built = build_native_engine(artifact, options=BuildOptions(batch))
            assert built.was_cached is was_cached
        with open_backend(artifact, backend="tensorrt") as backend:
            assert backend.infer({"image": noise(8)})["score"].shape == (8,)

    def test_a_damaged_engine_does_not_hide_an_older_one(self, install, artifact):
        install()
        build_native_engine(artifact, options=BuildOptions(8))
        build_native_engine(artifact, options=BuildOptions(1)).path.write_bytes(b"fake engine\n")
        with open_backend(artifact, backend="tensorrt") as backend:
            assert backend.infer({"image": noise(8)})["score"].shape == (8,)

    @pytest.mark.parametrize(
        ("tf32", "served", "refused"),
        [
            (False, ("tensorrt", "tensorrt-graph"), ("tensorrt-tf32",)),
            (True, ("tensorrt-tf32",), ("tensorrt", "tensorrt-graph")),
        ],
    )
    def test_an_engine_that_rounds_to_tf32_is_only_taken_by_its_name(
        self, install, artifact, tf32, served, refused
    ):
        install(cuda=("cuda-python",))
        build_native_engine(artifact, options=BuildOptions(tf32=tf32))
        for name in served:
            with open_backend(artifact, backend=name) as backend:
                assert backend.name == name
        command = rf"zsad-engine {artifact.path} --fp32{'' if tf32 else ' --tf32'}$"
        for name in refused:
            with pytest.raises(InputError, match=rf"for {name} on .* run {command}"):
                open_backend(artifact, backend=name)

    def test_a_threshold_of_the_exact_engine_gives_no_verdict_in_tf32(
        self, install, artifact, make_recipe
    ):
        install()
        for tf32 in (False, True):
            build_native_engine(artifact, options=BuildOptions(tf32=tf32))
        recipe, frame = make_recipe(artifact.path, 0.5), noise(1)[0]
        found = {}
        for name in ("cpu", "tensorrt", "tensorrt-tf32"):
            with Detector.load(artifact.path, recipe, backend=name) as detector:
                found[name] = detector.arithmetic, detector.predict(frame).verdict
        assert found["tensorrt"] == found["cpu"]
        assert found["tensorrt-tf32"] == ("tf32", Verdict.NO_RESULT)

    def test_a_version_compatible_engine_runs_in_a_later_release(self, install, artifact):
        build_native_engine_for(install, artifact, "10.3.0", BuildOptions(version_compatible=True))
        fake = install(version="11.4.0.106")
        with open_backend(artifact, backend="tensorrt") as backend:
            assert backend.provider == "tensorrt 11.4.0.106 on Orin sm87"
            assert backend._runtime.engine_host_code_allowed
        fake.gpu.check_clean()

    def test_the_engine_is_known_by_the_hash_of_its_file(self, install, artifact):
        install()
        built = build_native_engine(artifact)
        with open_backend(artifact, backend="tensorrt") as backend:
            assert backend.engine_sha256 == sha256_file(built.path)
            identity = identity_of(Detector(artifact, backend))
        assert (identity.engine, identity.backend) == (backend.engine_sha256, "tensorrt")
        assert "tensorrt" in identity.versions
        with open_backend(artifact, backend="cpu", threads=1) as backend:
            assert backend.engine_sha256 is None

    def test_a_batch_above_the_engines_names_the_option(self, install, artifact):
        fake = install()
        build_native_engine(artifact, options=BuildOptions(max_batch=2))
        with open_backend(artifact, backend="tensorrt") as backend:
            backend.infer({"image": noise(2)})
            with pytest.raises(InputError, match=r"up to \(2, 8, 12, 3\).* --max-batch 3"):
                backend.infer({"image": noise(3)})
            with open_backend(artifact, backend="cpu") as cpu:
                equal(backend.infer({"image": noise(2)}), cpu.infer({"image": noise(2)}))
        fake.gpu.check_clean()

    def test_another_thread_is_refused(self, install, artifact):
        install()
        build_native_engine(artifact)
        caught = []
        with open_backend(artifact, backend="tensorrt") as backend:

            def elsewhere():
                try:
                    backend.infer({"image": noise(1)})
                except InputError as error:
                    caught.append(str(error))

            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
        assert "belongs to the thread that opened it" in caught[0]

    def test_a_closed_backend_says_so(self, install, artifact):
        install()
        build_native_engine(artifact)
        backend = open_backend(artifact, backend="tensorrt")
        backend.close()
        backend.close()
        with pytest.raises(InputError, match="is closed"):
            backend.infer({"image": noise(1)})

    def test_inputs_of_other_names_are_refused(self, install, artifact):
        install()
        build_native_engine(artifact)
        with (
            open_backend(artifact, backend="tensorrt") as backend,
            pytest.raises(InputError, match="differ by 'frame'"),
        ):
            backend.infer({"image": noise(1), "frame": noise(1)})

    def test_a_damaged_engine_is_not_loaded(self, install, artifact):
        install()
        build_native_engine(artifact).path.write_bytes(b"fake engine\n")
        with pytest.raises(InputError, match="is damaged: delete it"):
            open_backend(artifact, backend="tensorrt")

    @pytest.mark.parametrize(
        ("cuda", "name", "package"),
        [((), "tensorrt", "cuda-python"), (("pycuda",), "tensorrt-graph", "cuda-python")],
    )
    def test_a_missing_cuda_library_is_named(self, install, artifact, cuda, name, package):
        install(cuda=cuda)
        build_native_engine(artifact)
        with pytest.raises(InputError, match=rf"'{package}'.* pip install 'zsad\[tensorrt\]'"):
            open_backend(artifact, backend=name)

    @pytest.mark.parametrize("cuda", ["pycuda", "cuda-python"])
    def test_a_cuda_without_a_gpu_is_bad_input(self, install, artifact, cuda):
        fake = install(cuda=(cuda,))
        build_native_engine(artifact)
        fake.gpu.name = None
        with pytest.raises(InputError, match="finds no usable GPU"):
            open_backend(artifact, backend="tensorrt")

    def test_without_tensorrt_it_says_what_brings_it(self, artifact, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        with pytest.raises(InputError, match="JetPack brings it"):
            open_backend(artifact, backend="tensorrt")


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


class TestPlantedFaults:
    """The fake device notices what a real one would punish."""

    def backend(self, install, artifact, planted, cuda="pycuda", **options):
        self.fake = install(cuda=(cuda,), **options)
        build_native_engine(artifact)
        return planted(artifact, "fp32", "tensorrt")

    def test_a_tensor_without_an_address(self, install, artifact):
        class Forgetful(Context):
            def set_tensor_address(self, name, address):
                return name == "score" or super().set_tensor_address(name, address)

        with (
            self.backend(install, artifact, TensorRtBackend, context=Forgetful) as backend,
            pytest.raises(InferenceError, match="'score' has no address"),
        ):
            backend.infer({"image": noise(1)})

    def test_shapes_that_are_not_set(self, install, artifact):
        class Shapeless(Context):
            def set_input_shape(self, name, shape):
                return True

        with (
            self.backend(install, artifact, TensorRtBackend, context=Shapeless) as backend,
            pytest.raises(InferenceError, match="lacks the shape of image"),
        ):
            backend.infer({"image": noise(1)})

    def test_shapes_that_do_not_go_together(self, install, artifact):
        class Contradictory(Context):
            def infer_shapes(self):
                self._error("shapes contradict each other")
                raise RuntimeError

        with (
            self.backend(install, artifact, TensorRtBackend, context=Contradictory) as backend,
            pytest.raises(InferenceError, match="shapes contradict each other"),
        ):
            backend.infer({"image": noise(1)})

    def test_a_failure_leaves_no_work_behind(self, install, artifact):
        class Refusing(Context):
            def execute_async_v3(self, stream_handle):
                self._error("out of resources")
                return False

        with self.backend(install, artifact, TensorRtBackend, context=Refusing) as backend:
            with pytest.raises(InferenceError, match="out of resources"):
                backend.infer({"image": noise(1)})
            self.fake.gpu.check_idle()

    def test_reading_before_the_stream_is_done(self, install, artifact):
        class Hasty(TensorRtBackend):
            def infer(self, feeds):
                with self._cuda.active():
                    self._prepare(self._cuda, feeds)
                    self._enqueue(self._cuda)
                return {s.name: self._tensors[s.name].host.copy() for s in self.outputs}

        backend = self.backend(install, artifact, Hasty)
        found = backend.infer({"image": noise(1)})
        assert found["score"].tobytes() == b"\xcd" * 4
        with pytest.raises(DeviceFault, match="before the stream is synchronised"):
            self.fake.gpu.check_idle()

    def test_memory_for_another_batch(self, install, artifact):
        class Tight(TensorRtBackend):
            def _reshape(self, cuda, shapes):
                super()._reshape(cuda, shapes)
                self._context.set_tensor_address("score", cuda.allocate(4))

        backend = self.backend(install, artifact, Tight)
        with pytest.raises(DeviceFault, match="8 bytes of 4 of device memory"):
            backend.infer({"image": noise(2)})

    def test_memory_that_was_freed(self, install, artifact):
        backend = self.backend(install, artifact, TensorRtBackend)
        backend.infer({"image": noise(1)})
        with backend._cuda.active():
            backend._cuda.free(backend._tensors["score"].address)
        with pytest.raises(DeviceFault, match="was freed"):
            backend.infer({"image": noise(1)})

    def test_a_context_that_is_not_current(self, install, artifact):
        backend = self.backend(install, artifact, TensorRtBackend)
        with pytest.raises(DeviceFault, match="no context is current"):
            backend._cuda.allocate(16)

    def test_a_capture_without_a_first_call(self, install, artifact):
        class Cold(TensorRtBackend):
            def _replay(self, graphs):
                self._captured = graphs.capture(lambda: self._enqueue(graphs))

        self.fake = install(cuda=("cuda-python",))
        build_native_engine(artifact)
        backend = Cold(artifact, "fp32", "tensorrt-graph")
        with pytest.raises(DeviceFault, match="before a first call"):
            backend.infer({"image": noise(1)})

    def test_memory_that_is_never_given_back(self, install, artifact):
        class Leaky(TensorRtBackend):
            def close(self):
                self._tensors = {}
                super().close()

        with self.backend(install, artifact, Leaky) as backend:
            backend.infer({"image": noise(1)})
        with pytest.raises(DeviceFault, match="not given back: device, page-locked"):
            self.fake.gpu.check_clean()
