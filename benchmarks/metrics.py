"""How fast exact AUPRO and RCPRO are, against a sort and against the plain form, on one core.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py --json benchmarks/results/metrics.json
    python benchmarks/metrics.py --memory 1000 --json benchmarks/results/metrics.json

The second measures peak memory instead and leaves the timings in the file as they are.

Maps are made as zero-shot models make theirs: a 37x37 grid, enlarged and smoothed. `--rough` adds
white noise to every pixel, the hardest case for a union-find.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from options import json_option
from zsad.command import Command

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@click.command(cls=Command)
@click.option("--maps", "count", default=40, show_default=True, help="Maps for AUPRO.")
@click.option(
    "--plain-maps", default=2, show_default=True, help="Maps for RCPRO; half have a defect."
)
@click.option("--side", default=518, show_default=True, help="Side of a map in pixels.")
@click.option("--repeats", default=3, show_default=True, help="Runs of each; the median counts.")
@click.option("--memory", type=click.IntRange(2), metavar="MAPS", help="Measure memory instead.")
@click.option("--rough", is_flag=True, help="Add white noise to the maps.")
@json_option
def main(
    count: int,
    plain_maps: int,
    side: int,
    repeats: int,
    memory: int | None,
    rough: bool,
    json_path: Path | None,
) -> None:
    """Time both metrics, or measure their memory, and print that beside the goals."""
    from memory import measured, memory_table
    from zsad.schema import read_json, write_json

    known = read_json(json_path, "JSON") if json_path is not None and json_path.is_file() else {}
    if memory is None:
        found = speed(count, plain_maps, side, repeats, rough)
        # The memory of an earlier run still holds.
        record, text = {**_memory_of(known), **found}, table(found)
    else:
        peaks = measured(memory, side)
        record, text = {**known, "memory": peaks}, memory_table(peaks)
    click.echo(text)
    if json_path is not None:
        write_json(json_path, record)
        click.echo(str(json_path))


def _memory_of(known: Any) -> dict[str, Any]:
    return {"memory": known["memory"]} if "memory" in known else {}


def speed(count: int, plain_maps: int, side: int, repeats: int, rough: bool) -> dict[str, Any]:
    """Return the seconds of both metrics and of what they are compared with."""
    import cv2

    from machine import describe
    from zsad.metrics import aupro, rcpro

    cv2.setNumThreads(1)
    maps, masks = make_maps(count, side, rough)
    few, few_masks = maps[:plain_maps], masks[:plain_maps]
    flat = maps.reshape(-1)
    sort_s, _ = timed(lambda: float(np.sort(flat)[0]), repeats)
    aupro_s, _ = timed(lambda: aupro(maps, masks), repeats)
    rcpro_s, ours = timed(lambda: rcpro(few, few_masks), repeats)
    plain_s, plain = timed(lambda: plain_rcpro(few, few_masks), repeats)
    return {
        "machine": describe(),
        "maps": count,
        "plain_maps": plain_maps,
        "side_px": side,
        "rough": rough,
        "repeats": repeats,
        "sort_s": sort_s,
        "aupro_s": aupro_s,
        "aupro_over_sort": aupro_s / sort_s,
        "rcpro_s": rcpro_s,
        "plain_rcpro_s": plain_s,
        "rcpro_speedup": plain_s / rcpro_s,
        "rcpro_difference": abs(ours - plain),
    }


def make_maps(count: int, side: int, rough: bool) -> tuple[Floats, Bools]:
    """Return maps (N, side, side) and masks, every second one with two round defects."""
    import cv2

    rng = np.random.default_rng(0)
    maps, masks = np.empty((count, side, side), np.float32), np.zeros((count, side, side), np.uint8)
    for index, (anomaly_map, mask) in enumerate(zip(maps, masks, strict=True)):
        grid = rng.random((37, 37), dtype=np.float32)
        for _ in range(2 * (index % 2)):
            x, y = rng.integers(side // 8, side - side // 8, 2).tolist()
            cv2.circle(mask, (x, y), side // 20, 1, -1)
        grid += cv2.resize(mask, (37, 37), interpolation=cv2.INTER_AREA).astype(np.float32)
        anomaly_map[:] = cv2.GaussianBlur(cv2.resize(grid, (side, side)), (0, 0), 4)
        if rough:
            anomaly_map += rng.random((side, side), dtype=np.float32)
    return maps, masks.astype(np.bool_)


def timed(call: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Return the median seconds of a call and what it returned."""
    seconds, result = [], 0.0
    for _ in range(repeats):
        start = perf_counter()
        result = call()
        seconds.append(perf_counter() - start)
    return median(seconds), result


def plain_rcpro(maps: Floats, masks: Bools, thresholds: int = 200) -> float:
    """Return RCPRO as its definition reads: every map labelled anew at every threshold."""
    from scipy import ndimage

    eight = np.ones((3, 3))
    truth = [ndimage.label(mask, eight)[0] for mask in masks]
    sizes = [np.bincount(labels.ravel())[1:] for labels in truth]
    x, y = [], []
    for threshold in np.linspace(maps.min(), maps.max(), thresholds, endpoint=False)[::-1]:
        coverage: list[float] = []
        quality: list[float] = []
        for anomaly_map, labels, size in zip(maps, truth, sizes, strict=True):
            called = anomaly_map > threshold
            coverage += (np.bincount(labels[called], minlength=size.size + 1)[1:] / size).tolist()
            found, regions = ndimage.label(called, eight)
            joint = np.bincount(
                (found * (size.size + 1) + labels).ravel(),
                minlength=(regions + 1) * (size.size + 1),
            ).reshape(regions + 1, size.size + 1)
            quality += [plain_quality(row, size) for row in joint[1:]]
        x.append(float(np.mean(coverage)))
        y.append(float(np.mean(quality)))
    heights, widths = np.array([y[0], *y]), np.diff([0, *x])
    return float((widths * (heights[1:] + heights[:-1])).sum() / 2)


def plain_quality(row: npt.NDArray[Any], sizes: npt.NDArray[Any]) -> float:
    """Return the quality of one region from its pixels outside and inside each defect region."""
    if not row[1:].any():
        return 0.0
    best = int(row[1:].argmax())
    overlap, size = row[1 + best], sizes[best]
    if overlap < 0.05 * size:
        return 0.0
    return float(2 / max((row.sum() - overlap) / size, 2))


def table(record: dict[str, Any]) -> str:
    """Return both goals and what was reached, as Markdown."""
    return "\n".join(
        [
            "| what | seconds | reference, seconds | ratio | goal |",
            "|---|---|---|---|---|",
            f"| exact AUPRO against np.sort, {record['maps']} maps | {record['aupro_s']:.3f} "
            f"| {record['sort_s']:.3f} | {record['aupro_over_sort']:.2f} | <= 2 |",
            f"| RCPRO against the plain form, {record['plain_maps']} maps "
            f"| {record['rcpro_s']:.3f} "
            f"| {record['plain_rcpro_s']:.3f} | {record['rcpro_speedup']:.1f} | >= 10 |",
            "",
            f"RCPRO and its plain form differ by {record['rcpro_difference']:.1e}.",
        ]
    )


if __name__ == "__main__":
    main()
