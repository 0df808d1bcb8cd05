"""CUDA by NVIDIA's cuda-python (nvidia.github.io/cuda-python, `cuda.bindings.runtime`).

The runtime API works on the device's primary context. Every function returns its status first.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from zsad.backends.cuda_memory import CUDA_PYTHON
from zsad.errors import InferenceError, InputError
from zsad.types import Array


class CudaPython:
    """The first GPU by cuda-python; see `zsad.backends.cuda_memory.CudaGraphs`."""

    name = CUDA_PYTHON

    def __init__(self) -> None:
        """Choose the first GPU and make a stream on it.

        Raises:
            ImportError: cuda-python is not installed.
            InputError: There is no usable GPU.
        """
        import cuda.bindings.runtime

        self._cuda: Any = cuda.bindings.runtime
        try:
            self._call(self._cuda.cudaSetDevice, 0)
            # A stream of its own: the default one waits for every other stream of the process.
            flags = self._cuda.cudaStreamNonBlocking
            self._stream: Any = self._call(self._cuda.cudaStreamCreateWithFlags, flags)
        except InferenceError as error:
            raise InputError(
                f"cuda-python finds no usable GPU: {error}: its major version must be that of the"
                " driver's CUDA (on JetPack 6 pip install 'cuda-python<13')"
            ) from None

    @property
    def stream(self) -> int:
        """The stream's handle."""
        return int(self._stream)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Choose the first GPU for this thread, which makes its primary context current."""
        self._call(self._cuda.cudaSetDevice, 0)
        yield

    def pinned(self, n_bytes: int) -> Array:
        """Return page-locked host memory."""
        address = int(self._call(self._cuda.cudaMallocHost, n_bytes))
        return np.ctypeslib.as_array((ctypes.c_uint8 * n_bytes).from_address(address))

    def allocate(self, n_bytes: int) -> int:
        """Return the address of new device memory."""
        return int(self._call(self._cuda.cudaMalloc, n_bytes))

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._call(self._cuda.cudaFree, address)

    def free_pinned(self, memory: Array) -> None:
        """Give page-locked memory back."""
        self._call(self._cuda.cudaFreeHost, memory.ctypes.data)

    def upload(self, address: int, host: Array) -> None:
        """Copy page-locked memory to the device."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(address, host.ctypes.data, host.nbytes, kind)

    def download(self, host: Array, address: int) -> None:
        """Copy from the device to page-locked memory."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(host.ctypes.data, address, host.nbytes, kind)

    def synchronize(self) -> None:
        """Wait until everything on the stream is done."""
        self._call(self._cuda.cudaStreamSynchronize, self._stream)

    def capture(self, work: Callable[[], None]) -> Any:
        """Record what `work` puts on the stream, without running it, as a graph to `launch`."""
        # Other threads' allocations must not break the capture, which "global" would mean.
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(self._cuda.cudaStreamBeginCapture, self._stream, mode)
        try:
            work()
        finally:
            graph = self._call(self._cuda.cudaStreamEndCapture, self._stream)
        try:
            return self._call(self._cuda.cudaGraphInstantiate, graph, 0)
        finally:
            self._call(self._cuda.cudaGraphDestroy, graph)

    def launch(self, graph: Any) -> None:
        """Put a captured graph on the stream."""
        self._call(self._cuda.cudaGraphLaunch, graph, self._stream)

    def free_graph(self, graph: Any) -> None:
        """Give a captured graph back."""
        self._call(self._cuda.cudaGraphExecDestroy, graph)

    def mark(self) -> Any:
        """Put an event on the stream."""
        event = self._call(self._cuda.cudaEventCreate)
        self._call(self._cuda.cudaEventRecord, event, self._stream)
        return event

    def elapsed_ms(self, first: Any, second: Any) -> float:
        """Return the GPU's time between two events."""
        return float(self._call(self._cuda.cudaEventElapsedTime, first, second))

    def close(self) -> None:
        """Give the stream back; the primary context is the runtime's own."""
        self._call(self._cuda.cudaStreamDestroy, self._stream)

    def _copy(self, target: int, source: int, n_bytes: int, kind: Any) -> None:
        self._call(self._cuda.cudaMemcpyAsync, target, source, n_bytes, kind, self._stream)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        status, *values = function(*arguments)
        if status != self._cuda.cudaError_t.cudaSuccess:
            _, text = self._cuda.cudaGetErrorString(status)
            raise InferenceError(f"CUDA failed: {text.decode(errors='replace')}")
        return values[0] if values else None
