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

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from zsad.errors import InputError
from zsad.metrics.arrays import Bools, Floats, as_maps
from zsad.metrics.curve import Curve
from zsad.metrics.pro import region_overlap
from zsad.metrics.regions import Connectivity, even_thresholds, label_regions, levels_above
from zsad.metrics.superlevel import Basins, Indices, find_basins, roots_per_level

Pooling = Literal["regions", "images"]
Values = npt.NDArray[np.float64]


def rcpro(
    maps: Floats,
    masks: Bools,
    *,
    thresholds: int = 200,
    min_overlap: float = 0.05,
    excess_tolerance: float = 2.0,
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
    thresholds: int = 200,
    min_overlap: float = 0.05,
    excess_tolerance: float = 2.0,
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
    sweep = even_thresholds(values, thresholds)
    x = region_overlap(values, truth, sweep, connectivity)
    quality, count = np.zeros(sweep.size), np.zeros(sweep.size)
    for anomaly_map, mask in zip(values, truth, strict=True):
        levels = levels_above(anomaly_map, sweep)
        basins = find_basins(anomaly_map, levels, connectivity)
        labels, regions = label_regions(mask, connectivity)
        q, n = _qualities(
            basins, levels, labels, regions, sweep.size, min_overlap, excess_tolerance
        )
        if pooling == "images":
            q, n = q / np.maximum(n, 1), np.minimum(n, 1)
        quality += q
        count += n
    # Somewhere a pixel exceeds every threshold, so the count is never 0.
    y = quality / count
    return Curve(np.append(0, x), np.append(y[0], y)) if extend_left else Curve(x, y)


def _qualities(
    basins: Basins,
    levels: Indices,
    labels: npt.NDArray[np.int32],
    regions: int,
    top_level: int,
    min_overlap: float,
    excess_tolerance: float,
) -> tuple[Values, Values]:
    """Return the summed quality and the number of predicted regions, highest threshold first."""
    quality, count = np.zeros(top_level), np.zeros(top_level)
    area = np.zeros(basins.peaks.size, np.int64)
    overlap = np.zeros((basins.peaks.size, regions))
    sizes = np.bincount(labels.reshape(-1), minlength=regions + 1)[1:]
    flat, inside = levels.reshape(-1), labels.reshape(-1)
    touching = np.zeros(basins.peaks.size, np.bool_)
    touching[basins.of[(inside > 0) & (flat > 0)]] = True
    by_level = _by_level(flat, top_level) if regions else []
    for level, root in roots_per_level(basins, top_level):
        at = top_level - level
        count[at] = np.count_nonzero(root == np.arange(root.size))
        if not regions or not root.size:
            continue
        pixels = by_level[level]
        area += np.bincount(basins.of[pixels], minlength=area.size)
        defects = pixels[inside[pixels] > 0]
        np.add.at(overlap, (basins.of[defects], inside[defects] - 1), 1)
        near = np.flatnonzero(touching[: root.size])
        found, group = np.unique(root[near], return_inverse=True)
        shared = np.zeros((found.size, regions))
        np.add.at(shared, group.reshape(-1), overlap[near])
        whole = np.bincount(root, area[: root.size])[found]
        quality[at] = _summed(shared, whole, sizes, min_overlap, excess_tolerance)
    return quality, count


def _by_level(flat: Indices, top_level: int) -> list[Indices]:
    """Return the pixels of each level from 0 to `top_level`."""
    kind = np.uint16 if top_level < 1 << 16 else np.int64
    order = np.argsort(flat.astype(kind), kind="stable")
    ends = np.cumsum(np.bincount(flat, minlength=top_level + 1))[:-1]
    return np.split(order, ends)


def _summed(
    shared: Values,
    whole: npt.NDArray[np.integer[Any]],
    sizes: npt.NDArray[np.integer[Any]],
    min_overlap: float,
    excess_tolerance: float,
) -> float:
    """Sum the qualities of predicted regions from overlaps (P, G), areas (P,) and sizes (G,)."""
    if not whole.size:
        return 0.0
    matched = shared.argmax(axis=1)
    overlap, size = shared.max(axis=1), sizes[matched]
    valid = (overlap > 0) & (overlap >= min_overlap * size)
    excess = (whole - overlap) / size
    return float(np.where(valid, excess_tolerance / np.maximum(excess, excess_tolerance), 0).sum())
