"""Which GPU this machine has, asked of the driver itself. Torch-free."""

from __future__ import annotations

import ctypes

from zsad.errors import EngineError

_LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


def gpu_name() -> str:
    """Return the first GPU's name and architecture, for example `Orin sm87`.

    Raises:
        EngineError: There is no NVIDIA driver, or it finds no GPU.
    """
    try:
        cuda = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise EngineError(
            f"no NVIDIA driver here ({_LIBRARY} is missing): build the engine on the device, or "
            "use --rtx, which needs no GPU"
        ) from None
    device = ctypes.c_int()
    _check(cuda.cuInit(0))
    _check(cuda.cuDeviceGet(ctypes.byref(device), 0))
    name = ctypes.create_string_buffer(128)
    _check(cuda.cuDeviceGetName(name, len(name), device))
    architecture = "".join(str(_attribute(cuda, which, device)) for which in (_MAJOR, _MINOR))
    return f"{name.value.decode(errors='replace')} sm{architecture}"


def _attribute(cuda: ctypes.CDLL, which: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _check(cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device))
    return value.value


def _check(status: int) -> None:
    if status:
        raise EngineError(f"the NVIDIA driver finds no usable GPU (CUDA error {status})")
