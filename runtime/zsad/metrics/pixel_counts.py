"""Histograms of pixel scores per image, from which pixel metrics of any subset are sums.

An exact pixel metric sorts every pixel; a bootstrap would sort them a thousand times. Counts on
fine bins add up instead. Pixels that share a bin count as ties, which is exact where the scores
are quantised to the bins anyway (the floor's are). On the bins of `pixel_counts`, which follow the
quantiles of the scores, AUROC and AUPRO are off by less than 1e-3, AP and F1max by a few 1e-3: good
for the width of an interval, never printed as the figure itself.

AUPRO fits in because PRO is a mean over regions: a pixel of a region of n pixels adds 1/n to the
covered regions once the threshold falls to its bin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from zsad.metrics.arrays import Bools, Floats
from zsad.metrics.regions import label_regions

PixelCounts = npt.NDArray[Any]
"""(..., 3, B) per ascending score bin: normal pixels, anomalous pixels, and the share of each
defect region that lies in the bin, summed over regions."""

NORMAL, ANOMALOUS, COVERED = range(3)
"""The rows."""

BINS = 2048
SAMPLED_PIXELS = 1 << 20
"""Pixels per side that the bin edges are estimated from."""


def pixel_counts(maps: Floats, masks: Bools, bins: int = BINS) -> PixelCounts:
    """Count the pixels of each map in bins that follow the quantiles of both sides.

    Half of the edges are quantiles of the normal pixels, half of the anomalous ones, so that both
    ends of the ranking are resolved however rare the defects are.

    Args:
        maps: (N, H, W) floating point, finite.
        masks: (N, H, W) bool.
        bins: Upper bound of the number of bins.

    Returns:
        (N, 3, B) float32 with B <= `bins`.
    """
    shares = np.linspace(0, 1, bins // 2, endpoint=False)
    sides = [_sample(maps, masks == side) for side in (False, True)]
    edges = np.unique(np.concatenate([np.quantile(s, shares) for s in sides if s.size]))
    binned = (np.searchsorted(edges, m.reshape(-1), side="right") for m in maps)
    size = edges.size + 1
    return np.stack(
        [
            count_levels(levels, mask, region_shares(mask), size)
            for levels, mask in zip(binned, masks, strict=True)
        ]
    )


def region_shares(mask: Bools) -> Floats:
    """Return 1/n at each of the n pixels of every 8-connected region, 0 elsewhere, (H, W)."""
    if not mask.any():
        return np.zeros(mask.shape)
    labels, _ = label_regions(mask)
    sizes = np.bincount(labels.reshape(-1))
    return np.asarray(np.where(mask, 1 / sizes[labels], 0))


def count_levels(
    levels: npt.NDArray[np.integer[Any]], mask: Bools, shares: Floats, size: int
) -> PixelCounts:
    """Count integer levels in [0, size) of one image's pixels, (3, size) float32.

    Args:
        levels: (H, W), or the same pixels in one row.
        mask: (H, W) bool, True where anomalous.
        shares: `region_shares(mask)`.
        size: Bins.
    """
    flat, inside = levels.reshape(-1), mask.reshape(-1)
    sides = np.bincount(flat + size * inside, minlength=2 * size).reshape(2, size)
    covered = np.bincount(flat[inside], shares.reshape(-1)[inside], minlength=size)
    return np.stack([*sides, covered]).astype(np.float32)


def total_of(counts: PixelCounts) -> npt.NDArray[np.float64]:
    """Return the counts of all images together, (N, ...) to (...)."""
    return np.asarray(counts.sum(axis=0, dtype=np.float64))


def counts_auroc(counts: PixelCounts) -> npt.NDArray[np.float64]:
    """Return the pixel AUROC of each histogram, (...); NaN where a side has no pixel."""
    normal = counts[..., NORMAL, :].astype(np.float64)
    anomalous = counts[..., ANOMALOUS, :].astype(np.float64)
    below = np.cumsum(normal, axis=-1) - normal / 2
    total = anomalous.sum(axis=-1) * normal.sum(axis=-1)
    return _divide((anomalous * below).sum(axis=-1), total)


def counts_ap(counts: PixelCounts) -> npt.NDArray[np.float64]:
    """Return the pixel average precision of each histogram, (...); NaN without anomalous pixels."""
    false_alarms, hits = _from_top(counts)
    steps = np.diff(hits, axis=-1, prepend=0)
    precision = hits / np.maximum(hits + false_alarms, 1)
    return _divide((steps * precision).sum(axis=-1), hits[..., -1])


def counts_f1_max(counts: PixelCounts) -> npt.NDArray[np.float64]:
    """Return the best pixel F1 of each histogram, (...); NaN without anomalous pixels."""
    false_alarms, hits = _from_top(counts)
    total = hits[..., -1:]
    best = _divide(2 * hits, hits + false_alarms + total).max(axis=-1)
    return np.where(total[..., 0] > 0, best, np.nan)


def counts_pro_curve(
    counts: PixelCounts,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return false positive rate and PRO from (0, 0) to (1, 1), (..., 1 + B) each.

    NaN where there is no normal pixel or no defect region.
    """
    sides = np.cumsum(counts[..., ::-1], axis=-1, dtype=np.float64)
    ends = np.concatenate([np.zeros_like(sides[..., :1]), sides], axis=-1)
    rates = _divide(ends, np.broadcast_to(ends[..., -1:], ends.shape))
    return rates[..., NORMAL, :], rates[..., COVERED, :]


def counts_aupro(counts: PixelCounts, fpr_limit: float = 0.3) -> npt.NDArray[np.float64]:
    """Return AUPRO of each histogram, (...); NaN where there is no normal pixel or no region."""
    x, y = counts_pro_curve(counts)
    left, right = x[..., :-1], x[..., 1:]
    within = np.clip(fpr_limit - left, 0, right - left)
    slope = _slope(np.diff(y, axis=-1), right - left)
    area = within * (y[..., :-1] + slope * within / 2)
    return np.asarray(area.sum(axis=-1) / fpr_limit)


def _slope(rise: npt.NDArray[np.float64], run: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.divide(rise, run, out=np.where(np.isnan(run), np.nan, 0.0), where=run > 0)


def _from_top(counts: PixelCounts) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return false alarms and hits at each threshold, highest first, (..., B) each."""
    falling = counts[..., :COVERED, ::-1]
    false_alarms, hits = np.moveaxis(np.cumsum(falling, axis=-1, dtype=np.float64), -2, 0)
    return false_alarms, hits


def _divide(
    values: npt.NDArray[np.float64], by: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    quotient = np.full(np.shape(values), np.nan)
    np.divide(values, by, out=quotient, where=by > 0)
    return quotient


def _sample(maps: Floats, where: Bools) -> Floats:
    values = maps[where]
    return values[:: max(1, values.size // SAMPLED_PIXELS)]
