"""Torch-free runtime of zsad: what a device installs.

`Detector.load("dive/").predict(frame_bgr)` is the whole of it for most users. Names load when they
are first used, so that `import zsad` stays cheap and pulls in neither OpenCV nor an engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zsad.detector import Detector
    from zsad.errors import (
        EngineError,
        InferenceError,
        InputError,
        MissingExtraError,
        ParityError,
        ZsadError,
    )
    from zsad.types import AnomalyResult, Verdict

    __version__: str

__all__ = [
    "AnomalyResult",
    "Detector",
    "EngineError",
    "InferenceError",
    "InputError",
    "MissingExtraError",
    "ParityError",
    "Verdict",
    "ZsadError",
]

_HOMES = {"Detector": "zsad.detector", "AnomalyResult": "zsad.types", "Verdict": "zsad.types"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in __all__:
        value = getattr(import_module(_HOMES.get(name, "zsad.errors")), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'zsad' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("zsad")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
