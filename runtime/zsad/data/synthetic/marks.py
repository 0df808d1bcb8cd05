"""Places, lines and blobs that defects are drawn with. Lengths are fractions of the image side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.colours import blend, luma
from zsad.data.synthetic.noise import Frame, fractal, pixel_grid, smoothstep
from zsad.types import ArrayBool, ArrayF32

Point = tuple[float, float]
"""x and y as fractions of the image side."""
Drawn = tuple[ArrayF32, ArrayBool]
"""The picture with a defect, (S, S, 3) float32 BGR, and the pixels it changed, (S, S) bool."""
Drawer = Callable[[np.random.Generator, Canvas], Drawn]


def spot(rng: np.random.Generator, where: ArrayBool) -> Point:
    """A random True pixel of an (S, S) bool field, or the middle where there is none."""
    size = where.shape[0]
    rows, columns = np.nonzero(where[::3, ::3])
    if rows.size == 0:
        return 0.5, 0.5
    pick = int(rng.integers(rows.size))
    return (3 * int(columns[pick]) + 0.5) / size, (3 * int(rows[pick]) + 0.5) / size


def edge_of(part: ArrayBool) -> ArrayBool:
    """Pixels of the part that touch its outside."""
    inner = part.copy()
    inner[1:] &= part[:-1]
    inner[:-1] &= part[1:]
    inner[:, 1:] &= part[:, :-1]
    inner[:, :-1] &= part[:, 1:]
    return np.asarray(part & ~inner)


def blob(
    rng: np.random.Generator, size: int, centre: Point, radius: float, roughness: float
) -> ArrayF32:
    """A ragged disc: (S, S) float32, 1 at its centre, 0 on its outline, negative outside."""
    x, y = pixel_grid(size)
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.7)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    along, across = (cos * dx + sin * dy) / np.float32(stretch), (cos * dy - sin * dx) * stretch
    distance = np.sqrt(along**2 + across**2) / np.float32(radius)
    ragged = np.float32(roughness) * fractal(rng, Frame(x, y), 0.7 / radius, octaves=3)
    return np.asarray(1 - distance + ragged * np.minimum(distance, 1), np.float32)


def soft(field: ArrayF32, width: float) -> ArrayF32:
    """Coverage of a blob whose edge is `width` of its radius wide."""
    return smoothstep(field, -0.5 * width, 0.5 * width)


def walk(
    rng: np.random.Generator, start: Point, angle: float, length: float, wander: float, steps: int
) -> ArrayF32:
    """A path whose heading drifts by about `wander` radians a step: (steps, 2)."""
    headings = angle + np.cumsum(rng.normal(0, wander, steps - 1))
    stride = length / (steps - 1)
    moves = stride * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(moves, axis=0)])
    return np.asarray(path - path[steps // 2] + np.array(start), np.float32)


def local_luma(canvas: Canvas, where: ArrayF32) -> float:
    """Mean brightness of the clean picture under a coverage, in [0, 255]."""
    weight = float(where.sum())
    if weight < 1e-3:
        return float(luma(canvas.image).mean())
    return float((luma(canvas.image) * where).sum() / weight)


def contrast(
    rng: np.random.Generator, level: float, low: float, high: float, dark: float = 0.5
) -> float:
    """A signed change of `low` to `high` grey levels that stays visible on a surface of `level`.

    Args:
        rng: Source of sign and size.
        level: Brightness of the surface, in [0, 255].
        low: Smallest change.
        high: Largest change.
        dark: Probability of a darker mark where both fit.
    """
    change = rng.uniform(low, high)
    sign = -1.0 if rng.random() < dark else 1.0
    if level + sign * change > 250 or level + sign * change < 5:
        sign = -sign
    return sign * change


def line_width(rng: np.random.Generator, size: int, low: float, high: float) -> float:
    """A width in pixels, given for an image of 224 pixels."""
    return float(rng.uniform(low, high) * size / 224)


def on_part(canvas: Canvas, cover: ArrayF32) -> ArrayF32:
    """A coverage (S, S) where the part is, 0 elsewhere."""
    return np.asarray(cover * canvas.part, np.float32)


def shift(canvas: Canvas, cover: ArrayF32, change: float, tint: ArrayF32 | None = None) -> ArrayF32:
    """The picture, `change` grey levels brighter where `cover` is 1, and tinted there."""
    # A dark mark scales the surface, so that its pattern shows through and never clips at black.
    darker = np.float32(max(0.3, 1 + change / max(local_luma(canvas, cover), 1.0)))
    target = canvas.image * darker if change < 0 else canvas.image + np.float32(change)
    if tint is not None:
        target = target * tint
    return blend(canvas.image, target, cover)
