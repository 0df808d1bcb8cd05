"""Histograms of magnitudes that grow with what they meet, at a memory that never grows.

The range is always a power of two, so that widening it adds neighbouring bins together and loses
nothing but resolution. So the histogram of many frames is the same in whatever order and batches
they came.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 4096
"""At least half of them are in use, so that a bin is at most 1/2048 of the largest magnitude."""

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """How often which magnitude was met.

    Attributes:
        counts: (BINS,) float64, values per bin of equal width over [0, top).
        top: End of the last bin, a power of two.
        largest: The largest magnitude itself, at most `top`.
    """

    counts: Counts
    top: float
    largest: float

    @classmethod
    def of(cls, values: npt.NDArray[np.floating]) -> Histogram:
        """Count the magnitudes of `values`, of any shape."""
        magnitudes = np.abs(values.astype(np.float64)).ravel()
        largest = float(magnitudes.max(initial=0.0))
        top = power_of_two_above(largest)
        index = np.minimum(magnitudes * (BINS / top), BINS - 1).astype(np.int64)
        counts = np.bincount(index, minlength=BINS).astype(np.float64)
        return cls(counts, top, largest)

    def merged(self, other: Histogram) -> Histogram:
        """Return the histogram of both."""
        top = max(self.top, other.top)
        counts = self._widened(top) + other._widened(top)
        return Histogram(counts, top, max(self.largest, other.largest))

    def _widened(self, top: float) -> Counts:
        factor = min(round(top / self.top), BINS)
        folded = self.counts.reshape(-1, factor).sum(axis=1)
        return np.pad(folded, (0, BINS - len(folded)))


def power_of_two_above(magnitude: float) -> float:
    """Return the smallest power of two that is no smaller; a tiny one for zero."""
    return float(2.0 ** np.ceil(np.log2(max(magnitude, SMALLEST))))


SMALLEST = 2.0**-60
"""Magnitudes below are no activations of anything; it keeps the logarithm finite."""
