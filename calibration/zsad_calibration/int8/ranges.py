"""Calibrators: which magnitude the largest INT8 code stands for.

A small range rounds finely and clips what is beyond it. Min-max never clips; a percentile clips a
fixed share of the values; entropy clips where what is left differs least from what was there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from zsad_calibration.int8.histogram import BINS, Counts, Histogram

Rule = Literal["minmax", "percentile", "entropy"]

LEVELS = 127
"""Positive codes of symmetric INT8; -128 is not used, so that both signs have the same."""

PERCENTILE = 0.9999
"""Share of the values that is not clipped."""

_ENTROPY_STEP = 16
"""Bins between the ranges that entropy tries: finer than 1 % of any range worth trying."""


def minmax_range(histogram: Histogram) -> float:
    """Return the largest magnitude."""
    return histogram.largest


def percentile_range(histogram: Histogram, share: float = PERCENTILE) -> float:
    """Return the end of the first bin up to which at least `share` of the values lie."""
    total = histogram.counts.sum()
    index = int(np.searchsorted(np.cumsum(histogram.counts), share * total))
    return float(min((index + 1) * histogram.top / BINS, histogram.largest))


def entropy_range(histogram: Histogram) -> float:
    """Return the range whose quantized distribution is nearest to the real one.

    Nearest by Kullback-Leibler divergence from the clipped distribution, its tail on the last bin,
    to the same in `LEVELS` + 1 steps, as TensorRT's entropy calibrator had it.
    """
    counts = histogram.counts
    used = int(np.flatnonzero(counts).max(initial=0)) + 1
    ends = [*range(LEVELS + 1, used, _ENTROPY_STEP), used]
    divergences = [_divergence(counts, end) for end in ends]
    best = ends[int(np.argmin(divergences))]
    return float(min(best * histogram.top / BINS, histogram.largest))


def _divergence(counts: Counts, end: int) -> float:
    """Return what is lost, in nats, by keeping the first `end` bins in `LEVELS` + 1 steps."""
    kept = counts[:end]
    clipped = kept.copy()
    clipped[-1] += counts[end:].sum()
    # Codes lie at whole multiples of the step, so the first one stands for half a step only.
    step = np.rint((np.arange(end) + 0.5) * (LEVELS / end)).astype(np.int64)
    filled = kept > 0
    sums = np.bincount(step, kept, minlength=LEVELS + 1)
    widths = np.bincount(step, filled, minlength=LEVELS + 1)
    spread = np.where(filled, sums[step] / np.maximum(widths[step], 1), 0.0)
    met = clipped > 0
    # A tail that falls on an empty last bin has nothing to stand for it: infinitely far.
    if (spread[met] <= 0).any():
        return float("inf")
    real, told = clipped[met] / clipped.sum(), spread[met] / spread.sum()
    return float((real * np.log(real / told)).sum())


RULES: Mapping[Rule, Callable[[Histogram], float]] = {
    "minmax": minmax_range,
    "percentile": percentile_range,
    "entropy": entropy_range,
}
