"""Inference engines behind one small interface: named arrays in, named arrays out.

`BACKENDS` is at hand at once; what needs numpy loads when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zsad.backends.table import BACKENDS

if TYPE_CHECKING:
    from zsad.backends.base import Backend, open_backend

__all__ = ["BACKENDS", "Backend", "open_backend"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from zsad.backends import base

        return getattr(base, name)
    raise AttributeError(f"module 'zsad.backends' has no attribute '{name}'")
