"""Verdicts of a graph beside those of its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zsad.metrics.agreement import flip_bound, flips_at


@dataclass(frozen=True)
class Verdicts:
    """Verdicts at a recipe's threshold, which was fixed before these frames were seen.

    Attributes:
        threshold: The recipe's, for this graph and the engine's arithmetic where it has one, else
            for another of the artifact.
        frames: Number of frames.
        flips: Those whose verdict is another than the reference's.
        bound: Share of all frames, seen or not, whose verdicts differ at most, at 95 %; as good as
            the frames are independent draws.
    """

    threshold: float
    frames: int
    flips: int
    bound: float


def count_verdicts(
    threshold: float, reference: Sequence[float], found: Sequence[float]
) -> Verdicts:
    """Return how the scores of a graph, and those of its reference, compare with a threshold."""
    flips = flips_at(reference, found, threshold)
    return Verdicts(threshold, len(found), flips, flip_bound(flips, len(found)))
