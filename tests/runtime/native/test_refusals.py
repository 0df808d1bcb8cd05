"""What the native backend refuses, and what it names as the remedy."""

import sys
import threading

import pytest
from fake_driver import FakeDriver
from tensorrt_rig import build_for, equal, noise

from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.detector import Detector
from zsad.engine_cache import BuildOptions
from zsad.errors import InputError
from zsad.schema import sha256_file
from zsad.types import Verdict
from zsad.watch.identity import identity_of
from zsad_export.engine import build_native_engine


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
        build_for(install, artifact, "10.3.0", BuildOptions(version_compatible=True))
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
