"""Model and floor, class by class, on the same resamples."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zsad.evaluate.collect import ClassData
from zsad.evaluate.evaluation import METRICS
from zsad.evaluate.floor import choose_image_floor
from zsad.evaluate.pixel_floor import choose_pixel_floor
from zsad.metrics.bootstrap import Estimate, Metric, bootstrap_draws, mean_of, pixel_draws
from zsad.metrics.pixel_counts import PixelCounts, counts_ap, counts_auroc, pixel_counts
from zsad.metrics.ranking import auroc, average_precision, f1_max, pixel_ap, pixel_auroc

Estimates = Mapping[str, Estimate]
"""Keyed as `METRICS`; a metric that the images cannot give is absent."""


def _best_f1(scores: npt.NDArray[Any], labels: npt.NDArray[np.bool_]) -> float:
    return f1_max(scores, labels).f1


IMAGE_METRICS: Mapping[str, Metric] = {
    "image_auroc": auroc,
    "image_ap": average_precision,
    "image_f1_max": _best_f1,
}
EXACT_METRICS = {"pixel_auroc": pixel_auroc, "pixel_ap": pixel_ap}
COUNTED_METRICS = {"pixel_auroc": counts_auroc, "pixel_ap": counts_ap}


@dataclass(frozen=True)
class Sampling:
    """Bootstrap settings; model and floor of a class share them, so their difference is paired."""

    draws: int
    seed: tuple[int, int]


@dataclass(frozen=True)
class Comparison:
    """Estimates per class of the model and of its floor; classes without a figure are absent."""

    floor_name: str | None
    model: Mapping[str, Estimates]
    floor: Mapping[str, Estimates]


def compare_images(classes: Sequence[ClassData], samplings: Mapping[str, Sampling]) -> Comparison:
    """Compare image scores; every class must have both labels."""
    if not classes:
        return Comparison(None, {}, {})
    labels = {c.name: np.array(c.labels) for c in classes}
    floor = choose_image_floor({c.name: (np.stack(c.statistics), labels[c.name]) for c in classes})
    scores = {c.name: np.array(c.scores) for c in classes}
    return Comparison(
        floor.name,
        {name: _image_estimates(scores[name], labels[name], samplings[name]) for name in scores},
        {
            name: _image_estimates(floor.scores[name], labels[name], samplings[name])
            for name in scores
        },
    )


def compare_pixels(classes: Sequence[ClassData], samplings: Mapping[str, Sampling]) -> Comparison:
    """Compare anomaly maps; every class must have anomalous pixels."""
    if not classes:
        return Comparison(None, {}, {})
    floor = choose_pixel_floor({c.name: np.stack(c.floor_counts) for c in classes})
    return Comparison(
        floor.name,
        {c.name: _map_estimates(c, samplings[c.name]) for c in classes},
        {
            name: _counted_estimates(counts, samplings[name])
            for name, counts in floor.counts.items()
        },
    )


def mean_over(classes: Collection[Estimates]) -> Estimates:
    """Return the unweighted mean of each metric over the classes that have it."""
    by_metric = {name: [c[name] for c in classes if name in c] for name in METRICS}
    return {name: mean_of(found) for name, found in by_metric.items() if found}


def _image_estimates(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_], sampling: Sampling
) -> Estimates:
    return {
        name: Estimate(
            metric(scores, labels),
            bootstrap_draws(metric, scores, labels, sampling.draws, sampling.seed),
        )
        for name, metric in IMAGE_METRICS.items()
    }


def _map_estimates(data: ClassData, sampling: Sampling) -> Estimates:
    maps, masks = np.stack(data.maps), np.stack(data.masks)  # (N, H, W)
    counted = _counted_estimates(pixel_counts(maps, masks), sampling)
    return {name: counted[name].moved_to(EXACT_METRICS[name](maps, masks)) for name in counted}


def _counted_estimates(counts: PixelCounts, sampling: Sampling) -> Estimates:
    return {
        name: Estimate(
            float(metric(counts.sum(axis=0))),
            pixel_draws(metric, counts, sampling.draws, sampling.seed),
        )
        for name, metric in COUNTED_METRICS.items()
    }
