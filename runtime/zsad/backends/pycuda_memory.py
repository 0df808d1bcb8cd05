"""CUDA by PyCUDA (documen.tician.de/pycuda/driver.html).

`pycuda.autoinit` is never imported: it makes a context at import and binds it to whichever thread
imported it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from zsad.backends.cuda_memory import PYCUDA
from zsad.errors import InferenceError, InputError
from zsad.types import Array


class PyCuda:
    """The first GPU by PyCUDA; see `zsad.backends.cuda_memory.Cuda`."""

    name = PYCUDA

    def __init__(self) -> None:
        """Retain the primary context and make a stream in it.

        Raises:
            ImportError: PyCUDA is not installed.
            InputError: There is no usable GPU.
        """
        import pycuda.driver

        self._cuda: Any = pycuda.driver
        try:
            self._cuda.init()
            self._context: Any = self._cuda.Device(0).retain_primary_context()
        except self._cuda.Error as error:
            raise InputError(f"PyCUDA finds no usable GPU: {error}") from None
        self._blocks: dict[int, Any] = {}
        with self.active():
            self._stream: Any = self._cuda.Stream()

    @property
    def stream(self) -> int:
        """The stream's handle."""
        return int(self._stream.handle)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Push the primary context for the block; CUDA's errors become `InferenceError`."""
        self._context.push()
        try:
            yield
        except self._cuda.Error as error:
            raise InferenceError(f"CUDA failed: {error}") from error
        finally:
            self._context.pop()

    def pinned(self, n_bytes: int) -> Array:
        """Return page-locked host memory."""
        memory: Array = self._cuda.pagelocked_empty(n_bytes, np.uint8)
        return memory

    def allocate(self, n_bytes: int) -> int:
        """Return the address of new device memory."""
        block = self._cuda.mem_alloc(n_bytes)
        self._blocks[int(block)] = block  # PyCUDA frees what nobody holds
        return int(block)

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._blocks.pop(address).free()

    def free_pinned(self, memory: Array) -> None:
        """Give page-locked memory back."""
        allocation: Any = memory.base
        allocation.free()

    def upload(self, address: int, host: Array) -> None:
        """Copy page-locked memory to the device."""
        self._cuda.memcpy_htod_async(address, host, self._stream)

    def download(self, host: Array, address: int) -> None:
        """Copy from the device to page-locked memory."""
        self._cuda.memcpy_dtoh_async(host, address, self._stream)

    def synchronize(self) -> None:
        """Wait until everything on the stream is done."""
        self._stream.synchronize()

    def mark(self) -> Any:
        """Put an event on the stream."""
        return self._cuda.Event().record(self._stream)

    def elapsed_ms(self, first: Any, second: Any) -> float:
        """Return the GPU's time between two events."""
        return float(first.time_till(second))

    def close(self) -> None:
        """Give the stream and the context back."""
        with self.active():
            del self._stream
        self._context.detach()
