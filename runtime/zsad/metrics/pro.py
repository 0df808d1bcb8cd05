"""AUPRO: the area under per-region overlap (PRO) against the false positive rate.

PRO is the mean, over all defect regions of all images, of the share of a region that is called
anomalous; the false positive rate counts the normal pixels of all images. (Bergmann et al.,
"Uninformed Students", CVPR 2020, section 4.)

The exact area needs no curve: PRO is a mean over regions, so the area is the mean of every
region's own partial ROC area, which follows from its scores and the sorted highest normal ones.
Only the normal pixels within `fpr_limit` are ever sorted. Beside the caller's maps this holds one
copy of the normal pixels and a second one of those within the limit: 1000 maps of 518x518 in
float32 take 2.5 GB, the caller's 1.1 GB and the masks included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from zsad.errors import InputError
from zsad.metrics.arrays import Bools, Floats, as_maps, score_range
from zsad.metrics.curve import Curve
from zsad.metrics.regions import (
    Connectivity,
    even_thresholds,
    levels_above,
    no_region,
    region_scores,
)

FAMILY_THRESHOLDS = 200
"""How many thresholds AnomalyCLIP, FAPrompt and their kin sweep."""


def aupro(
    maps: Floats,
    masks: Bools,
    fpr_limit: float = 0.3,
    *,
    thresholds: int | None = None,
    connectivity: Connectivity = 8,
) -> float:
    """Return the area under PRO up to a false positive rate, divided by that rate.

    Args:
        maps: (N, H, W) floating point, finite, higher = more anomalous.
        masks: (N, H, W) bool, True where anomalous.
        fpr_limit: In (0, 1].
        thresholds: None for the exact area: every distinct score is a threshold, tied pixels enter
            together (a straight line), and the curve is cut at the limit by interpolation. Constant
            maps then give `fpr_limit / 2`, chance. A number, 200 for the papers' figures
            (`FAMILY_THRESHOLDS`), for the form of AnomalyCLIP and FAPrompt: thresholds evenly
            spaced over the scores, points with a rate below the limit only, and those rates
            stretched to fill 0 to 1.
        connectivity: Of regions; 8 in the papers.

    Returns:
        The area, in [0, 1].

    Raises:
        InputError: Shapes or types do not fit, a score is not finite, no pixel is anomalous or none
            is normal, or `fpr_limit` is outside (0, 1]. With `thresholds` also constant maps, and
            maps for which fewer than two different rates below the limit remain.
    """
    if not 0 < fpr_limit <= 1:
        raise InputError(f"fpr_limit must be in (0, 1], found {fpr_limit:g}")
    if thresholds is None:
        return _exact_area(*as_maps(maps, masks), fpr_limit, connectivity)
    return _stretched_area(
        pro_curve(maps, masks, thresholds=thresholds, connectivity=connectivity), fpr_limit
    )


def pro_curve(
    maps: Floats,
    masks: Bools,
    *,
    thresholds: int | None = None,
    connectivity: Connectivity = 8,
) -> Curve:
    """Return PRO (y) against the false positive rate (x).

    Args:
        maps: As in `aupro`.
        masks: As in `aupro`.
        thresholds: None for every point where the exact curve bends, two per distinct score of an
            anomalous pixel, and its ends (0, 0) and (1, 1). A number for as many evenly spaced
            thresholds, without ends: enough to draw it.
        connectivity: Of regions.

    Raises:
        InputError: As `aupro`.
    """
    values, truth = as_maps(maps, masks)
    if thresholds is None:
        return _exact_curve(values, truth, connectivity)
    return _sampled_curve(values, truth, even_thresholds(values, thresholds), connectivity)


def _exact_area(maps: Floats, masks: Bools, fpr_limit: float, connectivity: Connectivity) -> float:
    score_range(maps)
    normal = _normal_scores(maps, masks)
    top = _highest(normal, math.ceil(fpr_limit * normal.size))
    areas = []
    for scores in _regions_of_all(maps, masks, connectivity):
        before, after = _rates(scores, top, normal.size)
        # Each pixel adds 1/size from the rate at which it enters; within a tie it enters evenly.
        width = after - before
        entered = np.clip(fpr_limit - before, 0, width)
        tied = np.divide(entered**2, 2 * width, out=np.zeros_like(width), where=width > 0)
        areas.append(float((tied + np.maximum(fpr_limit - after, 0)).mean()))
    return float(np.mean(areas)) / fpr_limit


def _regions_of_all(maps: Floats, masks: Bools, connectivity: Connectivity) -> Iterator[Floats]:
    if not masks.any():
        raise no_region()
    for anomaly_map, mask in zip(maps, masks, strict=True):
        yield from region_scores(anomaly_map, mask, connectivity)


def _normal_scores(maps: Floats, masks: Bools) -> Floats:
    size = masks.size - int(np.count_nonzero(masks))
    if size == 0:
        raise InputError("every pixel is anomalous: there is no false positive rate")
    normal, filled = np.empty(size, maps.dtype), 0
    # Image by image, as indexing all maps at once would first make indices of 8 bytes a pixel.
    for anomaly_map, mask in zip(maps, masks, strict=True):
        chosen = anomaly_map[~mask]
        normal[filled : filled + chosen.size] = chosen
        filled += chosen.size
    return normal


def _highest(values: Floats, count: int) -> Floats:
    """Return the `count` highest values and all ties of the last, sorted; reorders `values`."""
    if count < values.size:
        values.partition(values.size - count)
        values = values[values >= values[values.size - count]]
    values.sort()
    return values


def _rates(
    scores: Floats, top: Floats, size: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the false positive rates just before and just after each score is a threshold."""
    before = (top.size - np.searchsorted(top, scores, side="right")) / size
    after = (top.size - np.searchsorted(top, scores, side="left")) / size
    return before, after


def _exact_curve(maps: Floats, masks: Bools, connectivity: Connectivity) -> Curve:
    score_range(maps)
    normal = _normal_scores(maps, masks)
    normal.sort()
    regions = list(_regions_of_all(maps, masks, connectivity))
    weights = np.concatenate([np.full(r.size, 1 / (r.size * len(regions))) for r in regions])
    scores, index = np.unique(np.concatenate(regions), return_inverse=True)
    gains = np.bincount(index.reshape(-1), weights)[::-1]
    before, after = _rates(scores[::-1], normal, normal.size)
    covered = np.minimum(np.cumsum(gains), 1)
    x = np.stack([before, after], axis=1).reshape(-1)
    y = np.stack([np.append(0, covered[:-1]), covered], axis=1).reshape(-1)
    return Curve(np.concatenate([[0], x, [1]]), np.concatenate([[0], y, [1]]))


def _sampled_curve(
    maps: Floats, masks: Bools, thresholds: Floats, connectivity: Connectivity
) -> Curve:
    size = thresholds.size + 1
    false_alarms = np.zeros(size, np.int64)
    for anomaly_map, mask in zip(maps, masks, strict=True):
        levels = levels_above(anomaly_map[~mask], thresholds)
        false_alarms += np.bincount(levels, minlength=size)
    if not false_alarms.any():
        raise InputError("every pixel is anomalous: there is no false positive rate")
    return Curve(
        from_top(false_alarms) / false_alarms.sum(),
        region_overlap(maps, masks, thresholds, connectivity),
    )


def region_overlap(
    maps: Floats, masks: Bools, thresholds: Floats, connectivity: Connectivity
) -> npt.NDArray[np.float64]:
    """Return PRO at each threshold, highest first, (K,); a pixel above a threshold is called.

    Raises:
        InputError: No pixel is anomalous.
    """
    total, regions = np.zeros(thresholds.size), 0
    for anomaly_map, mask in zip(maps, masks, strict=True):
        covered, found = covered_regions(anomaly_map, mask, thresholds, connectivity)
        total += covered
        regions += found
    if regions == 0:
        raise no_region()
    return total / regions


def covered_regions(
    anomaly_map: Floats, mask: Bools, thresholds: Floats, connectivity: Connectivity
) -> tuple[npt.NDArray[np.float64], int]:
    """Return the summed share of one image's regions that is called, (K,), and their number."""
    total, regions = np.zeros(thresholds.size), 0
    for scores in region_scores(anomaly_map, mask, connectivity):
        levels = np.searchsorted(scores, thresholds, side="right")  # pixels not above
        total += 1 - levels[::-1] / scores.size
        regions += 1
    return total, regions


def from_top(histogram: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the pixels above each threshold, highest first, from counts of levels 0 to K."""
    return np.cumsum(histogram[:0:-1])


def _stretched_area(curve: Curve, fpr_limit: float) -> float:
    kept = curve.x < fpr_limit
    x, y = curve.x[kept], curve.y[kept]
    if x.size == 0 or x[0] == x[-1]:
        raise InputError(
            f"fewer than two false positive rates lie below {fpr_limit:g} at these thresholds: "
            "use the exact form, thresholds=None"
        )
    return Curve((x - x[0]) / (x[-1] - x[0]), y).area()
