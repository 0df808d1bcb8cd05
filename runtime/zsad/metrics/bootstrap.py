"""Bootstrap intervals: how far a figure would move had other images been photographed.

Images are resampled, never pixels, since the pixels of one image are not independent. Good and
defective images are resampled apart: how many there are of each is a choice of whoever made the
data set, not a draw. The interval is the plain percentile one. It cannot see past the sample: a
perfect ranking gets [1, 1] whatever its size, so read the number of images beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zsad.errors import InputError
from zsad.metrics.arrays import as_bool

Metric = Callable[[npt.NDArray[Any], npt.NDArray[np.bool_]], float]
Draws = npt.NDArray[np.float64]
Seed = int | Sequence[int]

CONFIDENCE = 0.95
DRAWS = 1000


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, in the units of its metric."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A figure with its bootstrap draws, so that means and differences keep their intervals.

    Attributes:
        value: The figure itself, from all images.
        draws: (n,) the figure of each resample.
    """

    value: float
    draws: Draws

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.value - other.value, self.draws - other.draws)

    def moved_to(self, value: float) -> Estimate:
        """Return the same draws about another value, exact where this one is not, within [0, 1]."""
        return Estimate(value, np.clip(self.draws + (value - self.value), 0, 1))

    def without_bias(self) -> Estimate:
        """Return the draws of a maximum, moved down to where the truth is, within [0, 1].

        The best of all thresholds is too good by some amount in a sample, and by about as much
        again in a resample of it. How far the draws lie above the value estimates that amount, so
        they are moved by twice as much. The value stays, as everybody reports it.
        """
        excess = float(np.nanmean(self.draws)) - self.value
        return Estimate(self.value, np.clip(self.draws - 2 * excess, 0, 1))


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Return the unweighted mean of at least one estimate, draw by draw."""
    value = float(np.mean([e.value for e in estimates]))
    return Estimate(value, np.mean([e.draws for e in estimates], axis=0))


def bootstrap_interval(
    metric: Metric, scores: npt.ArrayLike, labels: npt.ArrayLike, n: int = DRAWS, seed: Seed = 0
) -> Interval:
    """Return the 95 % bootstrap interval of an image metric.

    Args:
        metric: `auroc`, `average_precision`, or any function of scores and labels.
        scores: (N,) real numbers, higher = more anomalous.
        labels: (N,) bool, or integers 0 and 1.
        n: Number of resamples.
        seed: The same seed gives the same resamples, whatever the metric.

    Raises:
        InputError: Shapes differ or a class is missing; also what `metric` raises.
    """
    return interval_of(bootstrap_draws(metric, scores, labels, n, seed))


def bootstrap_draws(
    metric: Metric, scores: npt.ArrayLike, labels: npt.ArrayLike, n: int = DRAWS, seed: Seed = 0
) -> Draws:
    """Return the metric of each of `n` resamples, (n,); arguments as in `bootstrap_interval`.

    Two scores of the same images with the same seed meet the same resamples, so the difference of
    their draws is a paired comparison.
    """
    values, truth = np.asarray(scores), as_bool(labels)
    if values.shape != truth.shape or values.ndim != 1:
        raise InputError(
            f"scores and labels must both be (N,), found {values.shape} and {truth.shape}"
        )
    return np.array([metric(values[i], truth[i]) for i in resamples(truth, n, seed)])


def resampled_counts(
    counts: npt.NDArray[Any], has_defect: npt.NDArray[np.bool_], n: int = DRAWS, seed: Seed = 0
) -> npt.NDArray[np.float64]:
    """Return the summed counts of each of `n` resamples of the images, (n, ...).

    Drawing images is then a weighted sum of counts, not a new sort of all pixels.

    Args:
        counts: (N, ...), whatever adds up over images: `pixel_counts`, `rcpro_counts`.
        has_defect: (N,) whether an image has an anomalous pixel; the two groups are drawn apart.
        n: Number of resamples.
        seed: As in `bootstrap_draws`.
    """
    images = len(counts)
    weights = np.zeros((n, images))
    for row, chosen in zip(weights, resamples(has_defect, n, seed), strict=True):
        row += np.bincount(chosen, minlength=images)
    flat = counts.reshape(images, -1).astype(np.float64)
    return np.asarray((weights @ flat).reshape(n, *counts.shape[1:]))


def interval_of(draws: Draws) -> Interval:
    """Return the central 95 % of the draws.

    A resample that cannot give the metric (NaN: no normal pixel was drawn, say) is left out.

    Raises:
        InputError: No resample gives it.
    """
    known = draws[~np.isnan(draws)]
    if not known.size:
        raise InputError("no resample of the images gives this figure: it has no interval")
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(low), float(high))


def resamples(groups: npt.NDArray[np.bool_], n: int, seed: Seed) -> npt.NDArray[np.int64]:
    """Return `n` resamples, (n, N) indices, drawn with replacement within each of two groups.

    A group may be empty: a set of defective images only is resampled as one group.
    """
    rng = np.random.default_rng(seed)
    parts = [part for part in (np.flatnonzero(groups), np.flatnonzero(~groups)) if part.size]
    drawn = [part[rng.integers(0, part.size, (n, part.size))] for part in parts]
    return np.concatenate(drawn, axis=1)
