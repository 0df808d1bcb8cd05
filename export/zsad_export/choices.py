"""Choices that an export makes for a method: what they are, and how far they move its results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from zsad.golden import GoldenFrame, GoldenOutputs
from zsad.parity import LIMITS, compare
from zsad.preprocess import PreprocessSpec
from zsad_export.reference import run_reference
from zsad_train.checkpoint import Checkpoint
from zsad_train.methods import EXPORT_CHOICES, check_has_options


def choose(checkpoint: Checkpoint, choices: Mapping[str, str]) -> Checkpoint:
    """Return `checkpoint` with options set anew, by the names of `EXPORT_CHOICES`.

    Raises:
        InputError: The method has no such option.
    """
    check_has_options(checkpoint.method_name, choices)
    return dataclasses.replace(checkpoint, options={**checkpoint.options, **choices})


def approximated(choices: Mapping[str, str]) -> dict[str, str]:
    """Return those of `choices` with which a method is not what was trained."""
    return {name: value for name, value in choices.items() if value != _trained(name)}


def undone(choices: Mapping[str, str]) -> dict[str, str]:
    """Return `choices` with nothing approximated."""
    return {name: _trained(name) for name in choices}


def _trained(name: str) -> str:
    return EXPORT_CHOICES[name].values[0]


@dataclass(frozen=True)
class Approximation:
    """What is exported in place of the method as it was trained.

    Attributes:
        choices: What makes it one.
        build_exact: Makes the method without them.
    """

    choices: Mapping[str, str]
    build_exact: Callable[[], nn.Module]

    def describe(
        self, frames: Sequence[GoldenFrame], found: GoldenOutputs, spec: PreprocessSpec
    ) -> str:
        """Return, as text, how far the outputs `found` are from the exact method's on `frames`."""
        exact = run_reference(self.build_exact(), frames, spec)
        parity = compare([frame.name for frame in frames], exact, found, LIMITS["fp32"])
        score = max(frame.score_abs for frame in parity.frames)
        highest = max(frame.map_max_abs for frame in parity.frames)
        flags = " ".join(f"--{name} {value}" for name, value in self.choices.items())
        return (
            f"on the golden frames {flags} moves the score by up to {score:.2g} and the map by up "
            f"to {highest:.2g}"
        )
