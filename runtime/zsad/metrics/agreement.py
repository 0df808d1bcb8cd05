"""Would two ways of computing one score decide alike? Free of torch.

A verdict is `score > threshold`, so the verdicts on a frame differ at exactly the thresholds from
the lower of its two scores up to, and without, the higher one. What happens at every threshold is
therefore known from the sorted scores, without a grid of thresholds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zsad.errors import InputError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Flips:
    """Verdicts that differ between two scores of the same frames, over all thresholds.

    Attributes:
        frames: Number of frames.
        most: Frames whose verdicts differ at the threshold where most of them do.
        threshold: The lowest such threshold; None where no verdict differs at any.
        area: Share of the frames whose verdicts differ, integrated over the thresholds: the mean
            absolute difference of the scores.
    """

    frames: int
    most: int
    threshold: float | None
    area: float


def verdict_flips(reference: npt.ArrayLike, found: npt.ArrayLike) -> Flips:
    """Return what changes between two scores of the same frames, over all thresholds.

    Args:
        reference: (N,) finite scores.
        found: (N,) finite scores of the same frames.

    Raises:
        InputError: Shapes differ, there is no frame, or a score is not finite.
    """
    a, b = _pairs(reference, found)
    low, high = np.sort(np.minimum(a, b)), np.sort(np.maximum(a, b))
    # The count only ever rises where a frame's lower score is reached.
    open_at = np.searchsorted(low, low, side="right") - np.searchsorted(high, low, side="right")
    at = int(open_at.argmax())
    most = int(open_at[at])
    return Flips(
        frames=a.size,
        most=most,
        threshold=float(low[at]) if most else None,
        area=float(np.abs(a - b).mean()),
    )


def flips_at(reference: npt.ArrayLike, found: npt.ArrayLike, threshold: float) -> int:
    """Return the number of frames whose verdicts differ at one threshold; the rest as above."""
    a, b = _pairs(reference, found)
    return int(((a > threshold) != (b > threshold)).sum())


def flip_bound(flips: int, frames: int, confidence: float = CONFIDENCE) -> float:
    """Return the share of all frames, seen or not, whose verdicts differ at most.

    It is the exact upper limit of Clopper and Pearson (1934) for a threshold that was fixed before
    the frames were seen. Without a flip it is 1 - (1 - confidence)^(1/n), about 3/n at 95 %: the
    rule of three (Hanley and Lippman-Hand, 1983).

    Args:
        flips: Frames whose verdicts differ.
        frames: Number of frames, independent draws from the process.
        confidence: Probability, in (0, 1), that the share is no larger.

    Raises:
        InputError: `flips` is not between 0 and `frames`, or there is no frame.
    """
    if not 0 <= flips <= frames or not frames:
        raise InputError(f"{flips} flips of {frames} frames have no bound: use at least one frame")
    if flips == frames:
        return 1.0
    if not flips:
        return -math.expm1(math.log1p(-confidence) / frames)
    low, high = flips / frames, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        if _at_most(flips, frames, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def kendall_tau(reference: npt.ArrayLike, found: npt.ArrayLike) -> float | None:
    """Return how far two scores order the same frames alike: Kendall's tau-b, in [-1, 1].

    Every pair of frames counts 1 where both scores order it alike and -1 where they do not; ties
    are counted as in Kendall (1945). AUROC is made of the same pairs, those of a good and a
    defective frame, so a tau of 1 leaves it as it was whatever the labels are.

    Args:
        reference: (N,) finite scores.
        found: (N,) finite scores of the same frames.

    Returns:
        None where one of the two does not tell any frames apart.

    Raises:
        InputError: As `verdict_flips`.
    """
    a, b = _pairs(reference, found)
    agreed, told_a, told_b = 0.0, 0, 0
    for index in range(a.size - 1):
        x, y = np.sign(a[index + 1 :] - a[index]), np.sign(b[index + 1 :] - b[index])
        agreed += float(x @ y)
        told_a, told_b = told_a + np.count_nonzero(x), told_b + np.count_nonzero(y)
    return agreed / math.sqrt(told_a * told_b) if told_a and told_b else None


def _pairs(
    reference: npt.ArrayLike, found: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a, b = np.asarray(reference, np.float64), np.asarray(found, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise InputError(f"scores must both be (N,) of the same frames, found {a.shape}, {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("a score is not a number: it decides nothing")
    return a, b


def _at_most(k: int, n: int, p: float) -> float:
    """Return P(Binomial(n, p) <= k), summed in logarithms, since (1 - p)^n underflows."""
    terms = (
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    )  # fmt: skip
    return math.fsum(map(math.exp, terms))
