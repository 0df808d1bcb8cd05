"""How often the 95 % intervals of an evaluation hold the truth, on simulated sets.

    python benchmarks/coverage_of_intervals.py --json benchmarks/results/coverage.json

Image scores are unit normals, the defective ones shifted; their true figures follow by integration.
Maps are blurred noise with one or two defects that differ in how visible they are; their truth is
that of 4000 good and 4000 defective ones, of RCPRO, whose thresholds follow the range of the
scores, the mean over the sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from options import json_option
from zsad.command import Command
from zsad.evaluate.compare import Estimates, image_estimates, mean_over
from zsad.evaluate.measure import MapCounts, Sampling, map_estimates
from zsad.metrics import aupro, pixel_ranking
from zsad.metrics.bootstrap import interval_of
from zsad.metrics.pixel_counts import pixel_counts, total_of
from zsad.metrics.rcpro import counts_rcpro, rcpro_counts

Values = npt.NDArray[np.float64]
Maps = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]

IMAGE_SETS = ((1, 10, 10), (1, 20, 20), (1, 50, 50), (12, 100, 100), (15, 20, 40))
"""Classes, good images of each, defective ones of each."""
MAP_SETS = (10, 20, 50)
"""Good images, and as many defective ones, of one class."""
SHIFTS = (0.5, 3.0)
"""Of the hardest and the easiest of several classes; a single one is shifted by 1."""
SIDE = 24
TRUE_MAPS = 4000


@click.command(cls=Command)
@click.option(
    "--sets", type=click.IntRange(2), default=200, show_default=True, help="Of each kind."
)
@click.option("--draws", type=click.IntRange(20), default=300, show_default=True, help="Resamples.")
@json_option
def main(sets: int, draws: int, json_path: Path | None) -> None:
    """Simulate sets of images and print how often each interval held the truth."""
    from machine import describe
    from zsad.schema import write_json

    rows = [image_row(*shape, sets, draws) for shape in IMAGE_SETS]
    rows += [map_row(n, sets, draws) for n in MAP_SETS]
    click.echo(table(rows))
    if json_path is not None:
        write_json(json_path, {"machine": describe(), "sets": sets, "draws": draws, "rows": rows})
        click.echo(str(json_path))


def image_row(classes: int, good: int, defective: int, sets: int, draws: int) -> dict[str, Any]:
    """Return the share of sets whose intervals of image figures, or of their means, hold."""
    shifts = np.linspace(*SHIFTS, classes) if classes > 1 else np.ones(1)
    truths = [true_image_figures(float(shift), good, defective) for shift in shifts]
    truth = {name: float(np.mean([each[name] for each in truths])) for name in truths[0]}
    labels = np.arange(good + defective) < defective
    found: list[Estimates] = []
    for seed in range(sets):
        rng = np.random.default_rng([seed, classes, good])
        found.append(
            mean_over(
                [
                    image_estimates(
                        rng.normal(size=labels.size) + shift * labels,
                        labels,
                        Sampling(draws, (seed, i)),
                    )
                    for i, shift in enumerate(shifts)
                ]
            )
        )
    return {"classes": classes, "good": good, "defective": defective, **_held(found, truth)}


def true_image_figures(shift: float, good: int, defective: int) -> dict[str, float]:
    """Return the figures of endlessly many images in the proportion of the set."""
    above = np.vectorize(lambda score: 1 - NormalDist().cdf(score))
    thresholds = np.linspace(9, -6, 4001)
    false, hit = above(thresholds), above(thresholds - shift)
    share = defective / (good + defective)
    called = share * hit + (1 - share) * false
    precision = share * hit / np.maximum(called, 1e-300)
    steps = np.diff(hit) * (precision[1:] + precision[:-1]) / 2
    return {
        "image_auroc": NormalDist().cdf(shift / 2**0.5),
        "image_ap": float(steps.sum()),
        "image_f1_max": float((2 * share * hit / (called + share)).max()),
    }


def map_row(n: int, sets: int, draws: int) -> dict[str, Any]:
    """Return the share of sets whose intervals of pixel figures hold."""
    truth = _exact(make_maps(np.random.default_rng(5), TRUE_MAPS))
    found = [
        _map_estimates(make_maps(np.random.default_rng([seed, n]), n), draws, seed)
        for seed in range(sets)
    ]
    truth["rcpro"] = float(np.mean([each["rcpro"].value for each in found]))
    return {"classes": 1, "good": n, "defective": n, **_held(found, truth)}


def make_maps(rng: np.random.Generator, n: int) -> Maps:
    """Return `n` defective and `n` good maps with their masks."""
    import cv2

    masks = np.zeros((2 * n, SIDE, SIDE), np.bool_)
    noise = rng.normal(size=masks.shape).astype(np.float32)
    maps = 4 * np.stack([cv2.GaussianBlur(plane, (0, 0), 2) for plane in noise])
    for anomaly_map, mask in zip(maps[:n], masks[:n], strict=True):
        for _ in range(rng.integers(1, 3)):
            (top, left), (height, width) = rng.integers(0, SIDE - 6, 2), rng.integers(2, 6, 2)
            mask[top : top + height, left : left + width] = True
        anomaly_map[mask] += rng.gamma(1.5, 1.0)
    return maps, masks


def _exact(maps: Maps) -> dict[str, float]:
    ranking = pixel_ranking(*maps)
    values = {"pixel_auroc": ranking.auroc, "pixel_ap": ranking.ap, "pixel_f1_max": ranking.f1_max}
    return {**values, "aupro": aupro(*maps)}


def _map_estimates(maps: Maps, draws: int, seed: int) -> Estimates:
    regions = rcpro_counts(*maps)
    values = {**_exact(maps), "rcpro": float(counts_rcpro(total_of(regions)))}
    names = tuple(map(str, range(len(maps[0]))))
    counts = MapCounts(names, pixel_counts(*maps), regions)
    return map_estimates(values, counts, Sampling(draws, (seed, 0)))


def _held(found: list[Estimates], truth: Mapping[str, float]) -> dict[str, float]:
    intervals = {name: [interval_of(each[name].draws) for each in found] for name in truth}
    return {
        name: float(np.mean([each.low <= truth[name] <= each.high for each in intervals[name]]))
        for name in truth
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the shares in percent, single classes of one size in one row, as Markdown."""
    from zsad.evaluate.evaluation import METRICS

    merged: dict[tuple[int, int, int], dict[str, Any]] = {}
    for row in rows:
        merged.setdefault((row["classes"], row["good"], row["defective"]), {}).update(row)
    lines = [f"| images | {' | '.join(METRICS.values())} |", f"|{'---|' * (1 + len(METRICS))}"]
    for (classes, good, defective), row in merged.items():
        several = f"mean of {classes} classes of " if classes > 1 else ""
        cells = [f"{100 * row[name]:.0f}" if name in row else "" for name in METRICS]
        lines.append(f"| {several}{good} + {defective} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
