"""A histogram of scores as inline SVG, one colour per verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_WIDTH, _HEIGHT = 1000, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 26, 28
_FEWEST_BINS, _MOST_BINS = 12, 50
_TICKS = 10


def histogram_svg(scores: Mapping[str, Sequence[float]], threshold: float | None) -> str:
    """Return an SVG element with the stacked histogram of scores.

    Args:
        scores: The scores in [0, 1] of each verdict; the verdict is the bars' CSS class.
        threshold: Marked by a dashed line; None for no line.
    """
    values = [score for group in scores.values() for score in group]
    if not values:
        return '<p class="note">No frame has a score.</p>'
    edges = _edges(values, threshold)
    low, high = float(edges[0]), float(edges[-1])
    counts = {name: np.histogram(group, edges)[0] for name, group in scores.items()}
    tallest = int(sum(counts.values(), np.zeros(edges.size - 1, int)).max())
    parts = [_axis(low, high, tallest), *_bars(counts, edges, tallest, low, high)]
    if threshold is not None:
        parts.append(_threshold_line(threshold, low, high))
    return (
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
        f' aria-label="Histogram of {len(values)} scores">{"".join(parts)}</svg>'
    )


def _edges(values: Sequence[float], threshold: float | None) -> npt.NDArray[Any]:
    """Return the bins' edges; the threshold is one of them, so that no bar straddles it."""
    shown = [*values, threshold] if threshold is not None else [*values]
    bins = min(max(_FEWEST_BINS, round(2 * len(values) ** 0.5)), _MOST_BINS)
    width = max(max(shown) - min(shown), 0.02) / bins
    origin = min(shown) if threshold is None else threshold
    below = np.floor((min(shown) - origin) / width) - 1
    above = np.ceil((max(shown) - origin) / width) + 1
    return np.asarray(origin + width * np.arange(below, above + 1))


def _x(value: float, low: float, high: float) -> float:
    return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)


def _bars(
    counts: Mapping[str, npt.NDArray[Any]],
    edges: npt.NDArray[Any],
    tallest: int,
    low: float,
    high: float,
) -> list[str]:
    room = _HEIGHT - _TOP - _BOTTOM
    base = np.full(edges.size - 1, float(_HEIGHT - _BOTTOM))
    bars = []
    for name, group in counts.items():
        for index in np.flatnonzero(group):
            left, right = _x(edges[index], low, high), _x(edges[index + 1], low, high)
            height = group[index] / tallest * room
            base[index] -= height
            bars.append(
                f'<rect class="bar {name}" x="{left + 0.5:.1f}" y="{base[index]:.1f}"'
                f' width="{right - left - 1:.1f}" height="{height:.1f}"/>'
            )
    return bars


def _axis(low: float, high: float, tallest: int) -> str:
    floor = _HEIGHT - _BOTTOM
    ticks, decimals = _ticks(low, high)
    marks = [
        f'<text x="{_x(value, low, high):.1f}" y="{floor + 18}" text-anchor="middle">'
        f"{value:.{decimals}f}</text>"
        for value in ticks
    ]
    return (
        f'<line class="axis" x1="{_LEFT}" y1="{floor}" x2="{_WIDTH - _RIGHT}" y2="{floor}"/>'
        f'<line class="axis" x1="{_LEFT}" y1="{_TOP}" x2="{_WIDTH - _RIGHT}" y2="{_TOP}"/>'
        f'<text x="{_LEFT - 8}" y="{_TOP + 4}" text-anchor="end">{tallest}</text>'
        f'<text x="{_LEFT - 8}" y="{floor + 4}" text-anchor="end">0</text>{"".join(marks)}'
    )


def _ticks(low: float, high: float) -> tuple[list[float], int]:
    """Return round values from low to high, and the decimals that they need."""
    decimals = max(1, int(np.ceil(-np.log10(high - low))) + 1)
    steps = [factor * 10.0**-decimals for factor in (1, 2, 5, 10, 20, 50)]
    step = next((s for s in steps if (high - low) / s <= _TICKS), steps[-1])
    first, last = int(np.ceil(low / step)), int(np.floor(high / step))
    return [index * step for index in range(first, last + 1)], decimals


def _threshold_line(threshold: float, low: float, high: float) -> str:
    x = _x(threshold, low, high)
    anchor, shift = ("end", -6) if x > _WIDTH / 2 else ("start", 6)
    return (
        f'<line class="threshold" x1="{x:.1f}" y1="{_TOP - 18}" x2="{x:.1f}"'
        f' y2="{_HEIGHT - _BOTTOM}"/><text class="threshold-label" x="{x + shift:.1f}"'
        f' y="{_TOP - 8}" text-anchor="{anchor}">threshold {threshold:.3f}</text>'
    )
