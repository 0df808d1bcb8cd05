"""Curves as inline SVG: one thin line per class, a thick one for their mean."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np

from zsad.metrics import Curve

_SIDE = 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 10, 42
_GRID = 401
"""Points of the mean curve."""
_TICKS = 5


def curves_svg(
    curves: Mapping[str, Curve], x_label: str, y_label: str, x_limit: float = 1.0
) -> str:
    """Return an SVG element and its key.

    Args:
        curves: By class, at least one; x and y in [0, 1].
        x_label: What x is.
        y_label: What y is.
        x_limit: Where the x axis ends.
    """
    lines = []
    if len(curves) > 1:
        lines = [
            f'<polyline style="--tint: {_colour(at, len(curves))}" points="{_points(c, x_limit)}">'
            f"<title>{escape(name)}</title></polyline>"
            for at, (name, c) in enumerate(curves.items())
        ]
    mean = mean_curve(list(curves.values()), x_limit)
    (x1, y1), (x2, y2) = _place(0, 0, x_limit), _place(x_limit, x_limit, x_limit)
    chance = f'<line class="chance" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
    return (
        f'<svg class="curves" viewBox="0 0 {_SIDE} {_SIDE}" role="img"'
        f' aria-label="{escape(y_label)} against {escape(x_label)}">'
        f"{_axes(x_label, y_label, x_limit)}{chance}{''.join(lines)}"
        f'<polyline class="mean" points="{_points(mean, x_limit)}"/></svg>{_key(list(curves))}'
    )


def mean_curve(curves: list[Curve], x_limit: float = 1.0) -> Curve:
    """Return the mean height of curves at each x; the curve itself where there is one."""
    if len(curves) == 1:
        return curves[0]
    x = np.linspace(0, x_limit, _GRID)
    y = np.mean([np.interp(x, c.x, c.y) for c in curves], axis=0)
    # Interpolation takes the top of a vertical step at 0; every curve starts below it.
    return Curve(np.append(0, x), np.append(0, y))


def _points(curve: Curve, x_limit: float) -> str:
    within = curve.x <= x_limit
    x, y = curve.x[within], curve.y[within]
    if x[-1] < x_limit:
        x, y = np.append(x, x_limit), np.append(y, np.interp(x_limit, curve.x, curve.y))
    pairs = [
        f"{px:.1f},{py:.1f}" for px, py in (_place(*p, x_limit) for p in zip(x, y, strict=True))
    ]
    # Neighbours that fall on one spot at this size say nothing twice.
    return " ".join(p for at, p in enumerate(pairs) if at == 0 or p != pairs[at - 1])


def _place(x: float, y: float, x_limit: float) -> tuple[float, float]:
    across = _LEFT + x / x_limit * (_SIDE - _LEFT - _RIGHT)
    return across, _SIDE - _BOTTOM - y * (_SIDE - _TOP - _BOTTOM)


def _axes(x_label: str, y_label: str, x_limit: float) -> str:
    parts = []
    # A short axis has a tick at every tenth.
    for value in np.linspace(0, x_limit, 1 + (_TICKS if x_limit == 1 else round(10 * x_limit))):
        x, _ = _place(float(value), 0, x_limit)
        parts.append(
            f'<line class="axis" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_SIDE - _BOTTOM}"/>'
            f'<text x="{x:.1f}" y="{_SIDE - _BOTTOM + 17}" text-anchor="middle">{value:.2g}</text>'
        )
    for value in np.linspace(0, 1, 1 + _TICKS):
        _, y = _place(0, float(value), x_limit)
        parts.append(
            f'<line class="axis" x1="{_LEFT}" y1="{y:.1f}" x2="{_SIDE - _RIGHT}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2g}</text>'
        )
    middle = (_LEFT + _SIDE - _RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{_SIDE - 6}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text x="{-(_TOP + _SIDE - _BOTTOM) / 2}" y="12" text-anchor="middle"'
        f' transform="rotate(-90)">{escape(y_label)}</text>'
    )
    return "".join(parts)


def _key(names: list[str]) -> str:
    if len(names) == 1:
        return ""
    items = [
        f'<span style="--tint: {_colour(at, len(names))}"><i></i>{escape(name)}</span>'
        for at, name in enumerate(names)
    ]
    return f'<div class="key"><span><i></i>mean</span>{"".join(items)}</div>'


def _colour(index: int, count: int) -> str:
    # Of one lightness that shows on white and on black.
    return f"hsl({360 * index / count:.0f} 65% 52%)"
