"""Connected regions above every threshold, from one pass over the pixels of an anomaly map.

Every pixel belongs to the local maximum that steepest ascent leads to, so a region above a
threshold is a union of whole `basins`, cut at the threshold: two basins are joined once the
highest pair of touching pixels between them is above it. Labelling the image again at each
threshold becomes a union-find over a few hundred basins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zsad.metrics.arrays import Floats
from zsad.metrics.regions import Connectivity

Indices = npt.NDArray[np.int64]

OFFSETS: dict[int, tuple[tuple[int, int], ...]] = {
    4: ((-1, 0), (0, -1), (0, 0), (0, 1), (1, 0)),
    8: tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)),
}
"""Steps (down, right) to a pixel and its neighbours, in raster order."""


@dataclass(frozen=True)
class Basins:
    """The basins of one map that rise above the lowest threshold, highest peak first.

    Attributes:
        of: (H*W,) int64, the basin of each pixel; undefined where the level is 0.
        peaks: (B,) the level of each peak, never rising.
        links: (2, E) pairs of touching basins, by falling level.
        link_levels: (E,) the level at which each pair joins.
    """

    of: Indices
    peaks: Indices
    links: Indices
    link_levels: Indices


def find_basins(anomaly_map: Floats, levels: Indices, connectivity: Connectivity) -> Basins:
    """Find the basins of one map.

    Args:
        anomaly_map: (H, W) floating point, finite.
        levels: (H, W) int64, how many thresholds lie below each pixel.
        connectivity: Of regions.
    """
    flat = levels.reshape(-1)
    top = _peak_of(anomaly_map, connectivity)  # (H*W,)
    peaks = np.flatnonzero((top == np.arange(top.size)) & (flat > 0))
    peaks = peaks[np.argsort(-flat[peaks], kind="stable")]
    number = np.zeros(top.size, np.int64)
    number[peaks] = np.arange(peaks.size)
    of = number[top]
    links, link_levels = _links(of.reshape(levels.shape), levels, connectivity)
    return Basins(of, flat[peaks], links, link_levels)


def roots_per_level(basins: Basins, top_level: int) -> Iterator[tuple[int, Indices]]:
    """Yield each level from `top_level` to 1 with the region of every basin that reaches it.

    A region bears the number of its first basin. The array is reused: read it, don't keep it.
    """
    parent = np.arange(basins.peaks.size)
    reach = np.searchsorted(-basins.peaks, -np.arange(top_level + 1), side="right")
    end = np.searchsorted(-basins.link_levels, -np.arange(top_level + 2), side="right")
    for level in range(top_level, 0, -1):
        active = parent[: reach[level]]
        _join(active, basins.links[:, end[level + 1] : end[level]])
        yield level, active


def _join(parent: Indices, links: Indices) -> None:
    """Join linked basins in place; every entry of `parent` is a root before and after."""
    while links.shape[1]:
        low, high = np.sort(parent[links], axis=0)
        links = np.stack([low, high])[:, low != high]
        if not links.shape[1]:
            return
        np.minimum.at(parent, links[1], links[0])
        while not np.array_equal(up := parent[parent], parent):
            parent[:] = up


def _peak_of(anomaly_map: Floats, connectivity: Connectivity) -> Indices:
    """Return the local maximum that steepest ascent from each pixel ends in, (H*W,).

    Of equal neighbours the last in raster order is taken, so that a plateau has no cycle.
    """
    height, width = anomaly_map.shape
    padded = np.pad(anomaly_map, 1, constant_values=-np.inf)
    shifted = {
        (dy, dx): padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        for dy, dx in OFFSETS[connectivity]
    }
    best = anomaly_map.copy()
    for neighbour in shifted.values():
        np.maximum(best, neighbour, out=best)
    step = np.zeros(anomaly_map.shape, np.int64)
    for (dy, dx), neighbour in shifted.items():
        np.copyto(step, dy * width + dx, where=neighbour == best)
    up = np.arange(step.size) + step.reshape(-1)
    while not np.array_equal(further := up[up], up):
        up = further
    return up


def _links(
    of: Indices, levels: npt.NDArray[Any], connectivity: Connectivity
) -> tuple[Indices, Indices]:
    height, width = of.shape
    pairs: list[Indices] = []
    joined: list[Indices] = []
    for dy, dx in OFFSETS[connectivity]:
        if (dy, dx) <= (0, 0):
            continue
        here = (slice(0, height - dy), slice(max(0, -dx), width - max(0, dx)))
        there = (slice(dy, height), slice(max(0, dx), width + min(0, dx)))
        at = np.flatnonzero(of[here] != of[there])
        level = np.minimum(levels[here].reshape(-1)[at], levels[there].reshape(-1)[at])
        at, level = at[level > 0], level[level > 0]
        pairs.append(np.stack([of[here].reshape(-1)[at], of[there].reshape(-1)[at]]))
        joined.append(level)
    link_levels = np.concatenate(joined)
    order = np.argsort(-link_levels, kind="stable")
    return np.concatenate(pairs, axis=1)[:, order], link_levels[order]
