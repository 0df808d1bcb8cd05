"""One module per paper; the table names them without importing torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING

from zsad.errors import InputError

if TYPE_CHECKING:
    from zsad_train.methods.base import Method

METHODS = {"dive": "Dive", "anomalyclip": "AnomalyClip", "faprompt": "FaPrompt", "mrad": "Mrad"}
"""Method name, which is its module's name here, to class name."""

UNTRAINED = {"clip": "Clip", "winclip": "WinClip"}
"""Those that need no training: `zsad-export` makes them from a backbone and words."""


@dataclass(frozen=True)
class ExportChoice:
    """An option of some method that only inference knows, so that an export may set it.

    Attributes:
        values: What it can be. The first is the method as it was trained, another approximates it.
        help_text: What it does.
    """

    values: tuple[str, ...]
    help_text: str


EXPORT_CHOICES = {
    "dap": ExportChoice(
        ("exact", "baked"), "FAPrompt's text per image: in the graph, or left out, approximately."
    ),
}
"""Field name in a method's configuration, which is the flag of `zsad-export`, to what it can be."""


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


def check_has_options(name: str, options: Iterable[str]) -> None:
    """Refuse options, by field name, that the configuration of the method `name` does not have.

    Raises:
        InputError: One is unknown.
    """
    known = {field.name for field in fields(method_class(name).config_type)}
    for option in sorted(set(options) - known):
        raise InputError(f"{name} has no option --{option.replace('_', '-')}: leave it out")
