"""One tensor of an engine: what it is, and the memory it has on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np

from zsad.backends.cuda_memory import Cuda, view
from zsad.errors import InputError
from zsad.manifest import TensorSpec
from zsad.types import Array

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "UINT8": "uint8",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
"""NumPy's name of each of TensorRT's types."""


class DeviceTensor:
    """A tensor's memory, kept from call to call and replaced only by a larger one.

    Attributes:
        spec: Name, shape and type; a dimension that the engine leaves open is a string.
        is_input: Whether it is read.
        address: Its device memory, 0 before the first `fit`.
        host: Its page-locked memory, of the shape last fitted.
    """

    def __init__(self, spec: TensorSpec, is_input: bool) -> None:
        """Have no memory yet."""
        self.spec = spec
        self.is_input = is_input
        self.address = 0
        self.host: Array = np.empty(0, spec.dtype)
        self._pinned: Array | None = None

    def fit(self, cuda: Cuda, shape: tuple[int, ...]) -> None:
        """Have room for `shape`; the address may change."""
        n_bytes = int(np.prod(shape, dtype=np.int64)) * self.host.dtype.itemsize
        if self._pinned is None or self._pinned.nbytes < n_bytes:
            self.release(cuda)
            self._pinned = cuda.pinned(n_bytes)
            self.address = cuda.allocate(n_bytes)
        self.host = view(self._pinned, shape, self.host.dtype)

    def release(self, cuda: Cuda) -> None:
        """Give the memory back."""
        self.host = np.empty(0, self.host.dtype)
        if self._pinned is not None:
            cuda.free_pinned(self._pinned)
            self._pinned = None
        if self.address:
            cuda.free(self.address)
            self.address = 0


def tensor_spec(engine: Any, name: str) -> TensorSpec:
    """Return what an engine says about a tensor of its interface.

    Raises:
        InputError: It is of a type that NumPy lacks.
    """
    kind = engine.get_tensor_dtype(name).name
    if kind not in _DTYPES:
        raise InputError(f"the engine's '{name}' is {kind}, which has no place in an artifact")
    shape = tuple(engine.get_tensor_shape(name))
    return TensorSpec(name, tuple("?" if d < 0 else int(d) for d in shape), _DTYPES[kind])
