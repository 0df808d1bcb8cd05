"""Which GPU this machine has, asked of the driver itself."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from zsad.errors import InputError

_LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@dataclass(frozen=True)
class Gpu:
    """A GPU as engines are told apart by it.

    Attributes:
        name: As the driver gives it.
        sm: Compute capability without the dot, such as 87.
    """

    name: str
    sm: int

    def __str__(self) -> str:
        return f"{self.name} sm{self.sm}"


def find_gpu() -> Gpu:
    """Return the first GPU, which is what engines are built for and run on.

    Raises:
        InputError: There is no NVIDIA driver, or it finds no GPU.
    """
    try:
        cuda = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise InputError(f"no NVIDIA driver here ({_LIBRARY} is missing)") from None
    device = ctypes.c_int()
    _check(cuda.cuInit(0))
    _check(cuda.cuDeviceGet(ctypes.byref(device), 0))
    name = ctypes.create_string_buffer(128)
    _check(cuda.cuDeviceGetName(name, len(name), device))
    major, minor = (_attribute(cuda, which, device) for which in (_MAJOR, _MINOR))
    return Gpu(name.value.decode(errors="replace"), 10 * major + minor)


def _attribute(cuda: ctypes.CDLL, which: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _check(cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device))
    return value.value


def _check(status: int) -> None:
    if status:
        raise InputError(f"the NVIDIA driver finds no usable GPU (CUDA error {status})")
