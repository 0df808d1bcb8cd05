"""Predictions as a table that cannot be taken for measurements."""

from __future__ import annotations

from collections.abc import Sequence

from zsad.plan.devices import DEVICES
from zsad.plan.predict import Prediction, efficiency
from zsad.plan.workload import PLANNED_PRECISIONS

LABEL = "PREDICTION from published figures of other runs, not a measurement"


def plan_text(predictions: Sequence[Prediction], takt_ms: float | None = None) -> str:
    """Return predictions as a table, with what they rest on below it."""
    head = ["device", "model", "px", "type", "GFLOP", "ms", "band, ms", "memory GB", "takt"]
    rows = [head if takt_ms is not None else head[:-1]]
    rows += [_row(each, takt_ms) for each in predictions]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    problems = dict.fromkeys(line for each in predictions for line in _problems(each))
    return "\n".join(
        [LABEL, "", *(line.rstrip() for line in lines), "", *problems, *_grounds(takt_ms)]
    )


def _row(found: Prediction, takt_ms: float | None) -> list[str]:
    height, width = found.image_px
    row = [
        found.device,
        found.workload,
        str(height) if height == width else f"{width}x{height}",
        found.precision,
        f"{found.gflop:.1f}",
        f"{found.ms:.1f}",
        f"{found.low_ms:.1f} to {found.high_ms:.1f}",
        f"{found.memory_gb:.1f} of {DEVICES[found.device].memory_gb:g}",
    ]
    return row if takt_ms is None else [*row, found.takt(takt_ms)]


def _problems(found: Prediction) -> list[str]:
    has = DEVICES[found.device].memory_gb
    name = f"{found.workload} in {found.precision} on {found.device}"
    if not found.fits_memory:
        return [f"{name} does NOT fit: about {found.memory_gb:.1f} GB of {has:g}"]
    if not found.builds:
        return [
            f"{name}: building its engine there may take {found.build_gb:.1f} GB, and the board "
            f"has {has:g}: end other programs, add swap"
        ]
    return []


def _grounds(takt_ms: float | None) -> list[str]:
    grounds = [
        "GFLOP is counted, the rest is not. A run is taken to reach the share of the dense rate "
        "that published TensorRT runs reached; the band is how far they miss each other:"
    ]
    for precision in PLANNED_PRECISIONS:
        found = efficiency(precision)
        grounds.append(
            f"  {precision}: {found.share:.0%} of the dense rate, from {found.figures} published "
            f"figures; each, predicted from the others, took {found.fastest:.2f} to "
            f"{found.slowest:.2f} times as long"
        )
    grounds.append(
        "Inference alone: camera, decoding and the resize come on top (zsad-run reports each), and "
        "below a few milliseconds so does what it takes to start a run."
    )
    if takt_ms is not None:
        grounds.append(
            f"takt {takt_ms:g} ms: fits = the whole band; likely, unlikely = the middle is inside, "
            "outside; does not fit = not even the best of the band, or the memory"
        )
    return grounds
