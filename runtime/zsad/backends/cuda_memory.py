"""The one door to CUDA: pinned and device memory, one stream, events, graphs.

Two libraries stand behind it: PyCUDA, which is built against the CUDA of the device, and
cuda-python, which has wheels. Neither is imported before it is wanted, and neither makes a context
of its own: both use the device's primary context, which every library of the process shares.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from zsad.errors import MissingExtraError
from zsad.types import Array

PYCUDA, CUDA_PYTHON = "pycuda", "cuda-python"


class Cuda(Protocol):
    """Memory and one stream of the first GPU.

    Everything is called inside `active()`, by the thread that opened it. Copies and launches go to
    the stream and return before they are done; host memory may be touched after `synchronize()`.
    """

    name: str

    @property
    def stream(self) -> int:
        """The stream's handle, as TensorRT takes it."""

    def active(self) -> AbstractContextManager[None]:
        """Make the GPU's primary context current for the block, for this thread."""

    def pinned(self, n_bytes: int) -> Array:
        """Return page-locked host memory, (n_bytes,) uint8; only such is copied asynchronously."""

    def allocate(self, n_bytes: int) -> int:
        """Return the address of new device memory, aligned to 256 bytes at least."""

    def free(self, address: int) -> None:
        """Give device memory back."""

    def free_pinned(self, memory: Array) -> None:
        """Give page-locked memory back; no array over it may be used any more."""

    def upload(self, address: int, host: Array) -> None:
        """Copy page-locked memory to the device."""

    def download(self, host: Array, address: int) -> None:
        """Copy from the device to page-locked memory."""

    def synchronize(self) -> None:
        """Wait until everything on the stream is done."""

    def mark(self) -> Any:
        """Put an event on the stream."""

    def elapsed_ms(self, first: Any, second: Any) -> float:
        """Return the GPU's time between two events, after `synchronize()`."""

    def close(self) -> None:
        """Give the stream and the context back."""


class CudaGraphs(Cuda, Protocol):
    """CUDA with graphs: work on the stream that is recorded once and launched many times."""

    def capture(self, work: Callable[[], None]) -> Any:
        """Record what `work` puts on the stream, without running it, as a graph to `launch`."""

    def launch(self, graph: Any) -> None:
        """Put a captured graph on the stream."""

    def free_graph(self, graph: Any) -> None:
        """Give a captured graph back."""


def open_cuda(library: str | None = None) -> Cuda:
    """Open the first GPU with `pycuda` or `cuda-python`; None takes the first that is installed.

    Raises:
        InputError: It is not installed, or finds no usable GPU.
    """
    from zsad.backends.pycuda_memory import PyCuda

    if library != CUDA_PYTHON:
        try:
            return PyCuda()
        except ImportError:
            if library == PYCUDA:
                raise MissingExtraError("pycuda", "pycuda", "CUDA by PyCUDA") from None
    return open_cuda_graphs()


def open_cuda_graphs() -> CudaGraphs:
    """Open the first GPU with cuda-python, for PyCUDA has no graphs.

    Raises:
        InputError: It is not installed, or finds no usable GPU.
    """
    from zsad.backends.cuda_python import CudaPython

    try:
        return CudaPython()
    except ImportError:
        raise MissingExtraError(CUDA_PYTHON, "tensorrt", "a TensorRT engine's memory") from None


def view(memory: Array, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return the beginning of (n,) uint8 memory as an array of another shape and type."""
    n_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return memory[:n_bytes].view(dtype).reshape(shape)
