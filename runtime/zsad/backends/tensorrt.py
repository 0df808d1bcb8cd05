"""TensorRT engines, run by TensorRT itself: named tensors, pinned buffers, one stream.

The engine comes from the device's cache, where `zsad-engine` put it. Calls and their order follow
NVIDIA's pages "IExecutionContext" and "Working with Dynamic Shapes"
(docs.nvidia.com/deeplearning/tensorrt).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import pairwise
from types import TracebackType
from typing import Any

import numpy as np

from zsad.artifact import Artifact
from zsad.backends.built_plan import PACKAGES, find_plan
from zsad.backends.cuda_memory import Cuda, CudaGraphs, open_cuda, open_cuda_graphs
from zsad.backends.device_tensor import DeviceTensor, tensor_spec
from zsad.backends.device_time import GpuTimes
from zsad.device import find_gpu
from zsad.engine_cache import EngineRecord
from zsad.errors import InferenceError, InputError
from zsad.manifest import Precision, TensorSpec
from zsad.tensorrt_package import error_log, load_tensorrt
from zsad.types import Array

_WITH_GRAPH = "tensorrt-graph"


class TensorRtBackend:
    """One engine, with the memory that its tensors live in."""

    def __init__(self, artifact: Artifact, precision: Precision, name: str) -> None:
        """Load the engine of a graph from the cache.

        Args:
            artifact: A verified artifact.
            precision: The graph.
            name: `tensorrt`; `tensorrt-graph`, which replays a CUDA graph; or `tensorrt-rtx`.
                `tensorrt-tf32` and `tensorrt-rtx-tf32` take engines built with `--tf32`, the
                others never do.

        Raises:
            InputError: TensorRT, CUDA or a GPU is missing, or there is no engine for this graph,
                GPU and release.
        """
        self.name, self.precision = name, precision
        package = PACKAGES[name]
        trt = load_tensorrt(package)
        gpu = find_gpu()
        record, plan = find_plan(artifact, precision, name, package, str(trt.__version__), gpu)
        self.provider = f"{package} {trt.__version__} on {gpu}"
        self.engine_sha256: str | None = record.sha256
        self._owner = threading.get_ident()
        self._log = error_log(trt)
        self._graphs: CudaGraphs | None = open_cuda_graphs() if name == _WITH_GRAPH else None
        self._cuda: Cuda | None = self._graphs or open_cuda()
        self._tensors: dict[str, DeviceTensor] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._captured: Any = None
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        try:
            with self._cuda.active():
                self._load(trt, record, plan)
        except Exception:
            self.close()
            raise

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The engine's inputs."""
        return tuple(t.spec for t in self._tensors.values() if t.is_input)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The engine's outputs."""
        return tuple(t.spec for t in self._tensors.values() if not t.is_input)

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the engine once.

        Raises:
            InputError: The backend is closed, another thread calls it, or the batch is larger than
                the engine takes.
            InferenceError: TensorRT or CUDA failed.
        """
        cuda = self._checked()
        with cuda.active():
            self._prepare(cuda, feeds)
            try:
                if self._graphs is None:
                    self._enqueue(cuda)
                else:
                    self._replay(self._graphs)
            finally:
                cuda.synchronize()  # also after a failure: copies may be under way
        # The next call writes into the same buffers.
        return {t.spec.name: t.host.copy() for t in self._tensors.values() if not t.is_input}

    def time(self, feeds: Mapping[str, Array]) -> GpuTimes:
        """Run the engine once, without a CUDA graph, and return where the GPU's time went.

        Raises:
            InputError: As `infer`.
            InferenceError: TensorRT or CUDA failed.
        """
        cuda = self._checked()
        with cuda.active():
            self._prepare(cuda, feeds)
            marks = [cuda.mark()]
            for step in (self._upload, self._execute, self._download):
                step(cuda)
                marks.append(cuda.mark())
            cuda.synchronize()
            spans = [cuda.elapsed_ms(a, b) for a, b in pairwise(marks)]
        return GpuTimes(*spans)

    def close(self) -> None:
        """Free the engine and its memory; closing twice does no harm."""
        cuda, self._cuda = self._cuda, None
        if cuda is None:
            return
        with cuda.active():
            self._forget_graph()
            # TensorRT's objects first: they hold device memory of their own.
            self._context = self._engine = self._runtime = None
            for tensor in self._tensors.values():
                tensor.release(cuda)
        cuda.close()

    def __enter__(self) -> TensorRtBackend:
        """Return itself; the engine is loaded already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the engine."""
        self.close()

    def _load(self, trt: Any, record: EngineRecord, plan: bytes) -> None:
        self._runtime = trt.Runtime(self._log)
        # Such an engine carries the code that runs it, which TensorRT runs only on request.
        self._runtime.engine_host_code_allowed = record.key.options.version_compatible
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise InputError(
                f"{self.provider} cannot load its engine: {self._log.last_error()}: "
                "run zsad-engine again"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise InputError(
                f"{self.provider} has no memory for its engine: {self._log.last_error()}"
            )
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        for name in names:
            is_input = self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            self._tensors[name] = DeviceTensor(tensor_spec(self._engine, name), is_input)

    def _checked(self) -> Cuda:
        if self._cuda is None:
            raise InputError("the backend is closed: open it again")
        if threading.get_ident() != self._owner:
            raise InputError("a TensorRT backend belongs to the thread that opened it")
        return self._cuda

    def _prepare(self, cuda: Cuda, feeds: Mapping[str, Array]) -> None:
        shapes = {name: value.shape for name, value in feeds.items()}
        if unlike := shapes.keys() ^ {spec.name for spec in self.inputs}:
            raise InputError(f"the engine's inputs and the given ones differ by '{min(unlike)}'")
        if shapes != self._shapes:
            self._shapes = {}  # whatever happens, the old ones hold no more
            self._forget_graph()
            self._reshape(cuda, shapes)
            self._shapes = shapes
        for name, value in feeds.items():
            np.copyto(self._tensors[name].host, value, casting="no")

    def _reshape(self, cuda: Cuda, shapes: Mapping[str, tuple[int, ...]]) -> None:
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise InputError(self._misfit(name, shape))
        try:
            missing = self._context.infer_shapes()
        except RuntimeError:  # shapes that do not go together
            raise InferenceError(f"{self.provider} failed: {self._log.last_error()}") from None
        if missing:
            raise InferenceError(f"{self.provider} lacks the shape of {', '.join(missing)}")
        for name, tensor in self._tensors.items():
            tensor.fit(cuda, tuple(self._context.get_tensor_shape(name)))
            if not self._context.set_tensor_address(name, tensor.address):
                raise InferenceError(f"{self.provider} failed: {self._log.last_error()}")

    def _misfit(self, name: str, shape: tuple[int, ...]) -> str:
        largest = tuple(self._engine.get_tensor_profile_shape(name, 0)[2])
        return (
            f"'{name}' is {shape}, the engine takes up to {largest}: "
            f"zsad-engine ... --max-batch {shape[0]} builds another"
        )

    def _enqueue(self, cuda: Cuda) -> None:
        self._upload(cuda)
        self._execute(cuda)
        self._download(cuda)

    def _upload(self, cuda: Cuda) -> None:
        for tensor in self._tensors.values():
            if tensor.is_input:
                cuda.upload(tensor.address, tensor.host)

    def _execute(self, cuda: Cuda) -> None:
        if not self._context.execute_async_v3(cuda.stream):
            raise InferenceError(f"{self.provider} failed: {self._log.last_error()}")

    def _download(self, cuda: Cuda) -> None:
        for tensor in self._tensors.values():
            if not tensor.is_input:
                cuda.download(tensor.host, tensor.address)

    def _replay(self, graphs: CudaGraphs) -> None:
        if self._captured is None:
            # After new shapes TensorRT does work at the first launch that no graph may hold.
            self._enqueue(graphs)
            graphs.synchronize()
            self._captured = graphs.capture(lambda: self._enqueue(graphs))
        graphs.launch(self._captured)

    def _forget_graph(self) -> None:
        if self._graphs is not None and self._captured is not None:
            self._graphs.free_graph(self._captured)
        self._captured = None
