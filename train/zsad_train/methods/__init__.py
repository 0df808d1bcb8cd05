"""One module per paper; the table names them without importing torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from zsad.errors import InputError

if TYPE_CHECKING:
    from zsad_train.methods.base import Method

METHODS = {"dive": "Dive", "anomalyclip": "AnomalyClip"}
"""Method name, which is its module's name here, to class name."""

UNTRAINED = {"clip": "Clip", "winclip": "WinClip"}
"""Those that need no training: `zsad-export` makes them from a backbone and words."""


def method_class(name: str) -> type[Method]:
    """Return the class of the method `name`.

    Raises:
        InputError: There is no such method.
    """
    known = METHODS | UNTRAINED
    if name not in known:
        raise InputError(f"unknown method '{name}': choose one of {', '.join(known)}")
    found: type[Method] = getattr(import_module(f"{__name__}.{name}"), known[name])
    return found


def check_learns(name: str) -> None:
    """Refuse a method that has nothing to train.

    Raises:
        InputError: It is a key of `UNTRAINED`.
    """
    if name in UNTRAINED:
        raise InputError(
            f"{name} learns nothing: make its artifact with zsad-export --method {name}"
        )
