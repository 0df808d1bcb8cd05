"""TensorRT's two packages, loaded by name, and a logger that keeps their errors for our own lines.

`tensorrt` and `tensorrt_rtx` have one interface; what differs between releases is asked for by name
where it is used.
"""

from __future__ import annotations

import importlib
from typing import Any

from zsad.errors import InputError, MissingExtraError

RTX, NATIVE = "tensorrt_rtx", "tensorrt"


def load_tensorrt(name: str) -> Any:
    """Return the package `name`, one of `RTX` and `NATIVE`.

    Raises:
        InputError: It is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:  # what is half installed raises what it likes
        if name == RTX and isinstance(error, ImportError):
            raise MissingExtraError("tensorrt_rtx", "rtx", "TensorRT-RTX") from None
        if name == RTX:
            raise InputError(f"TensorRT-RTX's '{RTX}' fails: {error}: install it anew") from None
        is_missing = isinstance(error, ImportError) and error.name == name
        reason = "which is not installed" if is_missing else f"which fails: {error}"
        raise InputError(
            f"this machine's GPU needs NVIDIA's 'tensorrt', {reason} (JetPack brings it; elsewhere "
            "pip install 'zsad[tensorrt]')"
        ) from None


def error_log(trt: Any) -> Any:
    """Return a TensorRT logger that prints nothing and tells the last error by `last_error()`."""

    class ErrorLog(trt.ILogger):  # type: ignore[misc]  # the base class comes with the package
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

        def last_error(self) -> str:
            return self.errors[-1] if self.errors else "no reason given"

    return ErrorLog()
