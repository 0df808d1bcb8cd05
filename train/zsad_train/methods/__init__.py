"""One module per paper; the table names them without importing torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING

from zsad.errors import InputError

if TYPE_CHECKING:
    from zsad_train.methods.base import Method

METHODS = {
    "dive": "Dive",
    "anomalyclip": "AnomalyClip",
    "faprompt": "FaPrompt",
    "cops": "Cops",
    "dapo": "Dapo",
    "mrad": "Mrad",
    "entroad": "EntroAd",
}
"""Method name, which is its module's name here, to class name."""

UNTRAINED = {"clip": "Clip", "winclip": "WinClip"}
"""Those that need no training: `zsad-export` makes them from a backbone and words."""


TRAINING: dict[str, dict[str, float]] = {
    # Both stages of MRAD's code, 1 and 5 epochs, and its learning rate; EntroAD's sketch has the
    # same epochs.
    "mrad": {"epochs": 6, "lr_prompts": 4e-4},
    "mrad-ft": {"epochs": 1},
    "entroad": {"epochs": 6, "lr_prompts": 4e-4},
}
"""Method or preset to those numbers of its own that differ from the defaults of `TrainConfig`."""

READINGS = {"entroad": "arXiv 2605.28630"}
"""Methods of which neither text nor code was at hand, to their papers. What is here is a reading of
the abstract: it says so wherever it prints a figure."""


def training_defaults(method: str, preset: str | None) -> dict[str, float]:
    """Return what a method is trained with, by field of `TrainConfig`, where nothing else is asked.

    Only what differs from the defaults there.
    """
    return {**TRAINING.get(method, {}), **TRAINING.get(preset or method, {})}


def reading_note(method: str) -> str | None:
    """Return the sentence that goes with every figure of a method that is a reading, else None."""
    if method not in READINGS:
        return None
    return (
        f"{method} is this project's reading of {READINGS[method]}, made without the paper's text "
        "or code: its figures are not the paper's"
    )


def reading_mark(method: str) -> str:
    """Return what follows the name of a method that is a reading in tables, else nothing."""
    return f" (a reading of {READINGS[method]})" if method in READINGS else ""


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


def check_names_types(name: str) -> None:
    """Refuse defect words for a method that tells no types apart.

    Raises:
        InputError: It does not.
    """
    if not method_class(name).names_types:
        raise InputError(f"{name} tells no defect types apart: leave --defects out")


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
