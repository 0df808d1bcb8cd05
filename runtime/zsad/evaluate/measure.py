"""The figures of a class's anomaly maps: exact values, and counts per image for their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zsad.evaluate.collect import ClassData
from zsad.evaluate.pixel_file import PixelFile
from zsad.evaluate.pixel_floor import PixelFloor, floor_map
from zsad.metrics import aupro, pixel_ranking
from zsad.metrics.arrays import Bools, Floats
from zsad.metrics.bootstrap import Estimate, resampled_counts
from zsad.metrics.pixel_counts import (
    ANOMALOUS,
    PixelCounts,
    counts_ap,
    counts_aupro,
    counts_auroc,
    counts_f1_max,
    pixel_counts,
    total_of,
)
from zsad.metrics.rcpro import RcproCounts, counts_rcpro, rcpro_counts

COUNTED_METRICS = {
    "pixel_auroc": counts_auroc,
    "pixel_ap": counts_ap,
    "pixel_f1_max": counts_f1_max,
    "aupro": counts_aupro,
}


@dataclass(frozen=True)
class Sampling:
    """Bootstrap settings; two estimates that share them meet the same resamples."""

    draws: int
    seed: tuple[int, int]


@dataclass(frozen=True)
class MapCounts:
    """What the intervals of one class's pixel figures are drawn from, image by image.

    Attributes:
        images: Names, (N,).
        pixels: (N, 3, B), see `zsad.metrics.pixel_counts`.
        regions: (N, 4, K), see `zsad.metrics.rcpro`; None where all maps are one constant, which
            no threshold of RCPRO parts.
    """

    images: tuple[str, ...]
    pixels: PixelCounts
    regions: RcproCounts | None


def measure_maps(data: ClassData, pixels: PixelFile) -> tuple[dict[str, float], MapCounts]:
    """Return the exact figures of a class and its counts; it must have both kinds of pixels."""
    maps, masks = pixels.maps(data.places), pixels.masks(data.places)  # (N, H, W)
    ranking = pixel_ranking(maps, masks)
    values = {
        "pixel_auroc": ranking.auroc,
        "pixel_ap": ranking.ap,
        "pixel_f1_max": ranking.f1_max,
        "aupro": aupro(maps, masks),
    }
    regions = _regions(maps, masks)
    if regions is not None:
        values["rcpro"] = float(counts_rcpro(total_of(regions)))
    return values, MapCounts(tuple(data.masked), pixel_counts(maps, masks), regions)


def measure_floor(
    data: ClassData, pixels: PixelFile, floor: PixelFloor
) -> tuple[dict[str, float], MapCounts]:
    """Return the same for the floor's statistic, whose levels are counted exactly."""
    masks = pixels.masks(data.places)
    maps, counts = np.empty(masks.shape, np.float32), []
    for index, place in enumerate(data.places):
        maps[index], found = floor_map(pixels.frame(place), masks[index], floor)
        counts.append(found)
    stacked = np.stack(counts)
    total = total_of(stacked)
    values = {name: float(metric(total)) for name, metric in COUNTED_METRICS.items()}
    regions = _regions(maps, masks)
    if regions is not None:
        values["rcpro"] = float(counts_rcpro(total_of(regions)))
    return values, MapCounts(tuple(data.masked), stacked, regions)


def map_estimates(
    values: Mapping[str, float], counts: MapCounts, sampling: Sampling
) -> dict[str, Estimate]:
    """Return the figures with the draws of their intervals.

    The draws come from counts on fine bins, and are moved to stand about the exact value. Those of
    RCPRO keep the thresholds of the whole set.
    """
    has_defect = np.asarray(counts.pixels[:, ANOMALOUS].any(axis=1))
    drawn = resampled_counts(counts.pixels, has_defect, sampling.draws, sampling.seed)
    total = total_of(counts.pixels)
    found = {
        name: Estimate(float(metric(total)), metric(drawn)).moved_to(values[name])
        for name, metric in COUNTED_METRICS.items()
    }
    if counts.regions is not None:
        drawn = resampled_counts(counts.regions, has_defect, sampling.draws, sampling.seed)
        found["rcpro"] = Estimate(values["rcpro"], counts_rcpro(drawn))
    return found


def _regions(maps: Floats, masks: Bools) -> RcproCounts | None:
    return None if maps.min() == maps.max() else rcpro_counts(maps, masks)
