"""What thresholds would cost: the share of good parts that each would reject."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zsad.recipe import CurvePoint
from zsad_calibration.threshold import supported_share

_LARGEST_SHARE = 0.2
"""Nobody rejects more than a fifth of the good parts."""


def false_rejects(good_scores: Sequence[float], confidence: float) -> tuple[CurvePoint, ...]:
    """Return the expected share of good parts above some of the good scores, and its upper bound.

    With m of n independent good parts above it, (m + 1) / (n + 1) of the parts to come are expected
    there; the upper bound solves P(Binomial(n, p) <= m) = 1 - confidence. Each holds for a point
    that is chosen before its scores are seen, not for all points at once.

    Args:
        good_scores: One score per good part.
        confidence: That of each upper bound, in (0, 1).

    Returns:
        Points by falling threshold; equal scores give one.
    """
    ordered, n = sorted(good_scores), len(good_scores)
    points: dict[float, CurvePoint] = {}
    for above in _steps(n):
        threshold = ordered[n - 1 - above]
        share = supported_share(n, confidence, above + 1)
        points.setdefault(threshold, CurvePoint(threshold, (above + 1) / (n + 1), share))
    return tuple(points.values())


def _steps(n: int) -> Iterator[int]:
    """0, 1, 2, 4, 7, 11, ...: each half as far again, up to a fifth of the parts."""
    above, last = 0, max(0, int(_LARGEST_SHARE * n) - 1)
    while above <= last:
        yield above
        above += 1 + above // 2
