"""Quality of the predicted regions of one map at every threshold, for RCPRO.

Works down the thresholds once: `zsad.metrics.superlevel` says which basins are joined at each, and
a tally of pixels per basin grows as the threshold falls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zsad.metrics.arrays import Bools, Floats
from zsad.metrics.regions import Connectivity, label_regions, levels_above
from zsad.metrics.superlevel import Basins, Indices, find_basins, roots_per_level

Values = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class QualityRule:
    """How one predicted region is judged; see `zsad.metrics.rcpro`."""

    min_overlap: float
    excess_tolerance: float

    def summed(self, shared: Values, whole: Integers, sizes: Integers) -> float:
        """Sum the qualities of predicted regions.

        Args:
            shared: (P, G) pixels that a predicted and a defect region share.
            whole: (P,) pixels of the predicted regions.
            sizes: (G,) pixels of the defect regions.
        """
        if not whole.size:
            return 0.0
        matched = shared.argmax(axis=1)
        overlap, size = shared.max(axis=1), sizes[matched]
        valid = (overlap > 0) & (overlap >= self.min_overlap * size)
        excess = np.maximum((whole - overlap) / size, self.excess_tolerance)
        return float(np.where(valid, self.excess_tolerance / excess, 0).sum())


def region_qualities(
    anomaly_map: Floats, mask: Bools, thresholds: Floats, rule: QualityRule, connect: Connectivity
) -> tuple[Values, Values]:
    """Judge the predicted regions of one map.

    Args:
        anomaly_map: (H, W) floating point, finite.
        mask: (H, W) bool, True where anomalous.
        thresholds: (K,) ascending, evenly spaced.
        rule: What a region is worth.
        connect: Connectivity of defect regions and predicted ones.

    Returns:
        The summed quality and the number of predicted regions, each (K,), highest threshold first.
    """
    levels = levels_above(anomaly_map, thresholds)
    basins = find_basins(anomaly_map, levels, connect)
    quality, count = np.zeros(thresholds.size), np.zeros(thresholds.size)
    tally = _Tally(basins, levels, *label_regions(mask, connect)) if mask.any() else None
    for level, root in roots_per_level(basins, thresholds.size):
        at = thresholds.size - level
        count[at] = np.count_nonzero(root == np.arange(root.size))
        if tally is not None and root.size:
            tally.lower_to(level)
            quality[at] = rule.summed(*tally.near_defects(root), tally.sizes)
    return quality, count


class _Tally:
    """Pixels of every basin down to the level reached, in all and within each defect region."""

    def __init__(
        self, basins: Basins, levels: Indices, labels: npt.NDArray[np.int32], regions: int
    ) -> None:
        self._of, self._inside = basins.of, labels.reshape(-1)
        self._by_level = _by_level(levels.reshape(-1), int(levels.max()))
        self._area = np.zeros(basins.peaks.size, np.int64)
        self._overlap = np.zeros((basins.peaks.size, regions))
        self._touching = np.zeros(basins.peaks.size, np.bool_)
        self._touching[basins.of[(self._inside > 0) & (levels.reshape(-1) > 0)]] = True
        self.sizes = np.bincount(self._inside, minlength=regions + 1)[1:]

    def lower_to(self, level: int) -> None:
        """Add the pixels of one level; called once for each, from the highest down."""
        if level >= len(self._by_level):
            return
        pixels = self._by_level[level]
        self._area += np.bincount(self._of[pixels], minlength=self._area.size)
        defects = pixels[self._inside[pixels] > 0]
        np.add.at(self._overlap, (self._of[defects], self._inside[defects] - 1), 1)

    def near_defects(self, root: Indices) -> tuple[Values, Integers]:
        """Return overlaps (P, G) and areas (P,) of the regions that may meet a defect.

        Every other region has quality 0, so only its number counts.
        """
        near = np.flatnonzero(self._touching[: root.size])
        found, group = np.unique(root[near], return_inverse=True)
        shared = np.zeros((found.size, self.sizes.size))
        np.add.at(shared, group.reshape(-1), self._overlap[near])
        whole = np.bincount(root, self._area[: root.size])[found]
        return shared, whole


def _by_level(flat: Indices, top_level: int) -> list[Indices]:
    """Return the pixels of each level from 0 to `top_level`."""
    kind = np.uint16 if top_level < 1 << 16 else np.int64
    order = np.argsort(flat.astype(kind), kind="stable")
    ends = np.cumsum(np.bincount(flat, minlength=top_level + 1))[:-1]
    return np.split(order, ends)
