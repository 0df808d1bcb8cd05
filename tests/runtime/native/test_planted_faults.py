"""Backends with a fault each: the fake device notices what a real one would punish."""

import pytest
from fake_execution import Context
from fake_gpu import DeviceFault
from tensorrt_rig import noise

from zsad.backends.tensorrt import TensorRtBackend
from zsad.errors import InferenceError
from zsad_export.engine import build_native_engine


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
