"""Histograms of pixel scores per image, from which pixel metrics of any subset are sums.

An exact pixel metric sorts every pixel; a bootstrap would sort them a thousand times. Counts on
fine bins add up instead. Pixels that share a bin count as ties, which is exact where the scores
are quantised to the bins anyway (the floor's are). On the bins of `pixel_counts`, which follow the
quantiles of the scores, AUROC is off by less than 1e-3 and AP by a few 1e-3: good for the width of
an interval, never printed as the figure itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

PixelCounts = npt.NDArray[Any]
"""(..., 2, B): pixels per ascending score bin; row 0 the normal ones, row 1 the anomalous ones."""

BINS = 2048
SAMPLED_PIXELS = 1 << 20
"""Pixels per side that the bin edges are estimated from."""


def pixel_counts(
    maps: npt.NDArray[np.floating[Any]], masks: npt.NDArray[np.bool_], bins: int = BINS
) -> PixelCounts:
    """Count the pixels of each map in bins that follow the quantiles of both sides.

    Half of the edges are quantiles of the normal pixels, half of the anomalous ones, so that both
    ends of the ranking are resolved however rare the defects are.

    Args:
        maps: (N, H, W) floating point, finite.
        masks: (N, H, W) bool.
        bins: Upper bound of the number of bins.

    Returns:
        (N, 2, B) int32 with B <= `bins`.
    """
    levels = np.linspace(0, 1, bins // 2, endpoint=False)
    sides = [_sample(maps, masks == side) for side in (False, True)]
    edges = np.unique(np.concatenate([np.quantile(s, levels) for s in sides if s.size]))
    binned = (np.searchsorted(edges, m.reshape(-1), side="right") for m in maps)
    size = edges.size + 1
    return np.stack(
        [
            count_levels(b, k, size)
            for b, k in zip(binned, masks.reshape(len(masks), -1), strict=True)
        ]
    )


def count_levels(
    levels: npt.NDArray[np.integer[Any]], mask: npt.NDArray[np.bool_], size: int
) -> PixelCounts:
    """Count integer levels in [0, size) of one image's pixels, apart by its mask, (2, size)."""
    joint = levels.reshape(-1) + size * mask.reshape(-1)
    return np.bincount(joint, minlength=2 * size).reshape(2, size).astype(np.int32)


def counts_auroc(counts: PixelCounts) -> npt.NDArray[np.float64]:
    """Return the pixel AUROC of each histogram, (...); NaN where a side has no pixel."""
    normal, anomalous = counts[..., 0, :], counts[..., 1, :].astype(np.float64)
    below = np.cumsum(normal, axis=-1, dtype=np.float64) - normal / 2
    total = anomalous.sum(axis=-1) * normal.sum(axis=-1, dtype=np.float64)
    return _divide((anomalous * below).sum(axis=-1), total)


def counts_ap(counts: PixelCounts) -> npt.NDArray[np.float64]:
    """Return the pixel average precision of each histogram, (...); NaN without anomalous pixels."""
    from_top = counts[..., ::-1].astype(np.float64)
    false_alarms, hits = np.moveaxis(np.cumsum(from_top, axis=-1), -2, 0)
    precision = hits / np.maximum(hits + false_alarms, 1)
    return _divide((from_top[..., 1, :] * precision).sum(axis=-1), hits[..., -1])


def _divide(
    values: npt.NDArray[np.float64], by: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    quotient = np.full(np.shape(values), np.nan)
    np.divide(values, by, out=quotient, where=by > 0)
    return quotient


def _sample(
    maps: npt.NDArray[np.floating[Any]], where: npt.NDArray[np.bool_]
) -> npt.NDArray[np.floating[Any]]:
    values = maps[where]
    return values[:: max(1, values.size // SAMPLED_PIXELS)]
