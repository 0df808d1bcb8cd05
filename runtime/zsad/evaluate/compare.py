"""Model and floor, class by class, on the same resamples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from zsad.evaluate.collect import ClassData
from zsad.evaluate.evaluation import METRICS
from zsad.evaluate.floor import choose_image_floor
from zsad.evaluate.measure import (
    MapCounts,
    Sampling,
    map_estimates,
    measure_floor,
    measure_maps,
)
from zsad.evaluate.pixel_file import PixelFile
from zsad.evaluate.pixel_floor import choose_pixel_floor
from zsad.metrics import auroc, average_precision, f1_max
from zsad.metrics.bootstrap import Estimate, Metric, bootstrap_draws, mean_of

Estimates = Mapping[str, Estimate]
"""Keyed as `METRICS`; a metric that the images cannot give is absent."""


def _best_f1(scores: npt.NDArray[Any], labels: npt.NDArray[np.bool_]) -> float:
    return f1_max(scores, labels).f1


IMAGE_METRICS: Mapping[str, Metric] = {
    "image_auroc": auroc,
    "image_ap": average_precision,
    "image_f1_max": _best_f1,
}


@dataclass(frozen=True)
class Comparison:
    """Estimates per class of the model and of its floor; classes without a figure are absent.

    Attributes:
        floor_name: What the floor is made of.
        model: By class.
        floor: By class.
        counts: By class, what the model's pixel intervals were drawn from.
    """

    floor_name: str | None
    model: Mapping[str, Estimates]
    floor: Mapping[str, Estimates]
    counts: Mapping[str, MapCounts] = field(default_factory=dict)


def compare_images(classes: Sequence[ClassData], samplings: Mapping[str, Sampling]) -> Comparison:
    """Compare image scores; every class must have both labels."""
    if not classes:
        return Comparison(None, {}, {})
    labels = {c.name: np.array(c.labels) for c in classes}
    floor = choose_image_floor({c.name: (np.stack(c.statistics), labels[c.name]) for c in classes})
    scores = {c.name: np.array(c.scores) for c in classes}
    return Comparison(
        floor.name,
        {name: image_estimates(scores[name], labels[name], samplings[name]) for name in scores},
        {
            name: image_estimates(floor.scores[name], labels[name], samplings[name])
            for name in scores
        },
    )


def compare_pixels(
    classes: Sequence[ClassData],
    pixels: PixelFile,
    samplings: Mapping[str, Sampling],
    measuring: Callable[[str], Any] | None = None,
) -> Comparison:
    """Compare anomaly maps; every class must have normal and anomalous pixels.

    Args:
        classes: What to compare.
        pixels: Their maps, masks and frames.
        samplings: By class.
        measuring: Called with the name of each class before it is measured.
    """
    if not classes:
        return Comparison(None, {}, {})
    floor = choose_pixel_floor([c.floor_counts for c in classes if c.floor_counts is not None])
    model, floors, counts = {}, {}, {}
    for data in classes:
        if measuring is not None:
            measuring(data.name)
        sampling = samplings[data.name]
        values, counts[data.name] = measure_maps(data, pixels)
        model[data.name] = map_estimates(values, counts[data.name], sampling)
        floors[data.name] = map_estimates(*measure_floor(data, pixels, floor), sampling)
    return Comparison(floor.name, model, floors, counts)


def mean_over(classes: Collection[Estimates]) -> Estimates:
    """Return the unweighted mean of each metric over the classes that have it."""
    by_metric = {name: [c[name] for c in classes if name in c] for name in METRICS}
    return {name: mean_of(found) for name, found in by_metric.items() if found}


def difference(ours: Estimates, theirs: Estimates) -> Estimates:
    """Return the difference of each metric that both have, draw by draw."""
    return {name: ours[name] - theirs[name] for name in ours if name in theirs}


def image_estimates(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_], sampling: Sampling
) -> Estimates:
    """Return the image figures of one class, which must have both labels."""
    found = {
        name: Estimate(
            metric(scores, labels),
            bootstrap_draws(metric, scores, labels, sampling.draws, sampling.seed),
        )
        for name, metric in IMAGE_METRICS.items()
    }
    # Without this, 95 % intervals of F1max hold the truth 70 to 80 times in 100.
    return {**found, "image_f1_max": found["image_f1_max"].without_bias()}
