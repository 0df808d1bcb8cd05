"""RCPRO: region-calibrated PRO (DIVE, section 5.1.2 and appendix A.3).

AUPRO forgives false alarms away from defects and regions that spill far beyond them. RCPRO plots
the mean quality of the *predicted* regions (y) against PRO (x) over a sweep of thresholds. A
predicted region P has quality

- 0 if it meets no defect region, or covers less than `min_overlap` of the one it overlaps most, G;
- 1 if its excess r = |P outside G| / |G| is at most `excess_tolerance`;
- `excess_tolerance` / r beyond, which is continuous there.

The paper leaves the base of both ratios open, read here as |G|, and the law of the decay beyond
"inversely proportional to the excess ratio". Of equally overlapped defect regions the first in
raster order is G. Two fragments of one defect are both scored.

Maps are treated one at a time, so the memory needed beside them does not grow with their number:
tens of MB for a map of 518x518.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from zsad.errors import InputError
from zsad.metrics.arrays import Bools, Floats, as_maps
from zsad.metrics.curve import Curve
from zsad.metrics.predicted import QualityRule, region_qualities
from zsad.metrics.pro import covered_regions
from zsad.metrics.regions import Connectivity, even_thresholds, no_region

Pooling = Literal["regions", "images"]
Values = npt.NDArray[np.float64]
RcproCounts = npt.NDArray[np.float64]
"""(..., 4, K) per threshold, highest first: the rows below, which add up over images."""

COVERED, DEFECTS, QUALITY, PREDICTED = range(4)
"""Summed share of each defect region that is covered, and their number; summed quality of the
predicted regions, and their number."""

THRESHOLDS = 200
"""The paper does not state a number; 200 is its family's."""
MIN_OVERLAP = 0.05
EXCESS_TOLERANCE = 2.0


def rcpro(
    maps: Floats,
    masks: Bools,
    *,
    thresholds: int = THRESHOLDS,
    min_overlap: float = MIN_OVERLAP,
    excess_tolerance: float = EXCESS_TOLERANCE,
    pooling: Pooling = "regions",
    extend_left: bool = True,
    connectivity: Connectivity = 8,
) -> float:
    """Return the area under the RCPRO curve, in [0, 1].

    Args:
        maps: (N, H, W) floating point, finite, higher = more anomalous.
        masks: (N, H, W) bool, True where anomalous.
        thresholds: How many, evenly spaced from the lowest score up to below the highest; pixels
            strictly above one are called anomalous. The paper does not state the number.
        min_overlap: Share of the matched defect region below which a predicted one counts as a
            false alarm; 0.05 in the paper.
        excess_tolerance: Excess, as a multiple of the matched region, that costs nothing; 2.0 in
            the paper.
        pooling: "regions" averages over the predicted regions of all images, "images" first within
            every image that has one. The paper does not say.
        extend_left: Draw the curve on from its first point straight to PRO = 0. Otherwise a perfect
            binary map, whose only PRO is 1, would have no area. The paper does not say.
        connectivity: Of defect regions and predicted ones.

    Raises:
        InputError: Shapes or types do not fit, a score is not finite, no pixel is anomalous, the
            maps are constant, or an option is out of its range. Masks that are anomalous throughout
            are fine.
    """
    return rcpro_curve(
        maps,
        masks,
        thresholds=thresholds,
        min_overlap=min_overlap,
        excess_tolerance=excess_tolerance,
        pooling=pooling,
        extend_left=extend_left,
        connectivity=connectivity,
    ).area()


def rcpro_curve(
    maps: Floats,
    masks: Bools,
    *,
    thresholds: int = THRESHOLDS,
    min_overlap: float = MIN_OVERLAP,
    excess_tolerance: float = EXCESS_TOLERANCE,
    pooling: Pooling = "regions",
    extend_left: bool = True,
    connectivity: Connectivity = 8,
) -> Curve:
    """Return the mean quality of predicted regions (y) against PRO (x); arguments as in `rcpro`."""
    if not 0 <= min_overlap <= 1 or not excess_tolerance > 0:
        raise InputError(
            "min_overlap must be in [0, 1] and excess_tolerance above 0, "
            f"found {min_overlap:g} and {excess_tolerance:g}"
        )
    if pooling not in ("regions", "images"):
        raise InputError(f"pooling must be 'regions' or 'images', found '{pooling}'")
    values, truth = as_maps(maps, masks)
    rule = QualityRule(min_overlap, excess_tolerance)
    counts = _counts(values, truth, thresholds, rule, connectivity)
    if pooling == "images":
        counts[:, QUALITY] /= np.maximum(counts[:, PREDICTED], 1)
        counts[:, PREDICTED] = np.minimum(counts[:, PREDICTED], 1)
    x, y = _points(counts.sum(axis=0))
    return Curve(np.append(0, x), np.append(y[0], y)) if extend_left else Curve(x, y)


def rcpro_counts(maps: Floats, masks: Bools) -> RcproCounts:
    """Return what RCPRO is made of, image by image; its sum over images has the exact RCPRO.

    Args:
        maps: As in `rcpro`, whose defaults hold.
        masks: As in `rcpro`.

    Raises:
        InputError: As `rcpro`.
    """
    rule = QualityRule(MIN_OVERLAP, EXCESS_TOLERANCE)
    return _counts(*as_maps(maps, masks), THRESHOLDS, rule, 8)


def counts_rcpro(counts: RcproCounts) -> Values:
    """Return RCPRO from summed counts, (..., 4, K) to (...); NaN without a defect region.

    A subset of the images keeps the thresholds of the whole set. Those above all of its scores
    have no predicted region: they cover nothing, so they only continue the curve to the left.
    """
    x, y = _points(counts)
    height = np.concatenate([y[..., :1], y], axis=-1)
    width = np.diff(x, axis=-1, prepend=0)
    return np.asarray((width * (height[..., 1:] + height[..., :-1])).sum(axis=-1) / 2)


def _counts(
    maps: Floats, masks: Bools, thresholds: int, rule: QualityRule, connectivity: Connectivity
) -> RcproCounts:
    sweep = even_thresholds(maps, thresholds)
    if not masks.any():
        raise no_region()
    counts = np.zeros((len(maps), 4, sweep.size))
    for row, anomaly_map, mask in zip(counts, maps, masks, strict=True):
        row[COVERED], row[DEFECTS] = covered_regions(anomaly_map, mask, sweep, connectivity)
        row[QUALITY], row[PREDICTED] = region_qualities(
            anomaly_map, mask, sweep, rule, connectivity
        )
    return counts


def _points(counts: RcproCounts) -> tuple[Values, Values]:
    """Return PRO and mean quality at each threshold, highest first, (..., K) each."""
    covered, defects, quality, predicted = np.moveaxis(counts, -2, 0)
    x = np.divide(covered, defects, out=np.full(covered.shape, np.nan), where=defects > 0)
    # Once a region is there, one is there at every lower threshold.
    first = np.argmax(predicted > 0, axis=-1)[..., None]
    y = quality / np.maximum(predicted, 1)
    return x, np.where(predicted > 0, y, np.take_along_axis(y, first, axis=-1))
