"""Backgrounds, materials, prints and the lighting that makes an outline look like a part."""

from __future__ import annotations

import cv2
import numpy as np

from zsad.data.synthetic import textures
from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.colours import blend, grey, random_colour, scale_light
from zsad.data.synthetic.noise import fractal, pixel_grid, random_frame
from zsad.data.synthetic.shapes import Pose, fill
from zsad.types import ArrayF32

_BACKDROPS = (textures.concrete, textures.brushed_metal, textures.cardboard, textures.carpet)

# Segments of a seven-segment digit as boxes (x0, y0, x1, y1) in a cell of 1 x 2.
_SEGMENTS = (
    (0.1, 0.0, 0.9, 0.25),
    (0.1, 0.87, 0.9, 1.12),
    (0.1, 1.75, 0.9, 2.0),
    (0.0, 0.1, 0.25, 0.95),
    (0.75, 0.1, 1.0, 0.95),
    (0.0, 1.05, 0.25, 1.9),
    (0.75, 1.05, 1.0, 1.9),
)


def background(rng: np.random.Generator, size: int) -> ArrayF32:
    """A table, belt or backdrop: plain with a gradient, or a subdued texture."""
    if rng.random() < 0.3:
        texture = _BACKDROPS[rng.integers(len(_BACKDROPS))](rng, random_frame(rng, size))
        return blend(texture, grey(rng.uniform(0.1, 0.9)), np.full((size, size), 0.45, np.float32))
    x, y = pixel_grid(size)
    slope = rng.uniform(-0.25, 0.25, 2)
    colour = random_colour(rng, saturation=(0, 0.35), value=(0.06, 0.95))
    return scale_light(colour, np.float32(1) + np.float32(slope[0]) * x + np.float32(slope[1]) * y)


def paint(
    rng: np.random.Generator, size: int, value: tuple[float, float] = (0.25, 0.9)
) -> ArrayF32:
    """Paint, plastic or moulded resin: one colour with faint unevenness."""
    mottle = fractal(rng, random_frame(rng, size), 8, octaves=3)
    colour = random_colour(rng, saturation=(0.0, 0.8), value=value)
    return scale_light(colour, 1 + np.float32(rng.uniform(0.01, 0.05)) * mottle)


def metal(rng: np.random.Generator, size: int) -> ArrayF32:
    """Brushed, cast or blasted metal."""
    frame = random_frame(rng, size)
    if rng.random() < 0.5:
        return textures.brushed_metal(rng, frame)
    grit = np.float32(rng.uniform(0.02, 0.09)) * fractal(rng, frame, 40, octaves=3, gain=0.8)
    return scale_light(random_colour(rng, saturation=(0, 0.25), value=(0.4, 0.8)), 1 + grit)


def metal_or_paint(rng: np.random.Generator, size: int) -> ArrayF32:
    """Bare or painted, either equally likely."""
    return metal(rng, size) if rng.random() < 0.5 else paint(rng, size)


def printed_text(
    rng: np.random.Generator, size: int, pose: Pose, height: float, letters: int, drop: float = 0.0
) -> ArrayF32:
    """A line of digit-like marks on the part, `drop` below its centre: (S, S) coverage.

    Lengths are in units of the pose's half size.
    """
    outlines = []
    for letter in range(letters):
        corner = np.array([(letter - letters / 2) * 0.75 * height, drop - 0.5 * height])
        for x0, y0, x1, y1 in _SEGMENTS:
            if rng.random() < 0.65:
                box = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float32)
                outlines.append(pose.place((corner + box * 0.5 * height).astype(np.float32)))
    return fill(size, *outlines)


def bevel(rng: np.random.Generator, cover: ArrayF32, width_px: float) -> ArrayF32:
    """Light on the rounded edges of a part: (S, S) gain about 1, from one random direction."""
    inside = (cover > 0.5).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    rise = np.minimum(depth, np.float32(width_px))
    gx, gy = cv2.Sobel(rise, cv2.CV_32F, 1, 0), cv2.Sobel(rise, cv2.CV_32F, 0, 1)
    turn = rng.uniform(0, 2 * np.pi)
    tilt = (gx * np.float32(np.cos(turn)) + gy * np.float32(np.sin(turn))) * np.float32(0.125)
    strength = np.float32(rng.uniform(0.1, 0.4))
    return np.asarray(1 + strength * cv2.blur(tilt, (3, 3)), np.float32)


def highlight(rng: np.random.Generator, size: int) -> ArrayF32:
    """A lamp mirrored on the part, or the shadow of the camera: (S, S) gain about 1."""
    if rng.random() < 0.5:
        return np.ones((size, size), np.float32)
    x, y = pixel_grid(size)
    dx, dy = x - np.float32(rng.uniform(0.2, 0.8)), y - np.float32(rng.uniform(0.2, 0.8))
    spread = np.float32(rng.uniform(0.15, 0.35))
    strength = np.float32(rng.uniform(-0.3, 0.4))
    return np.asarray(1 + strength * np.exp(-(dx * dx + dy * dy) / spread**2), np.float32)


def assemble(
    rng: np.random.Generator,
    cover: ArrayF32,
    skin: ArrayF32,
    bevel_px: float = 5.0,
    behind: ArrayF32 | None = None,
) -> Canvas:
    """Lay a part on a background, with lit edges and a soft shadow.

    Args:
        rng: Source of the background, the light and the shadow.
        cover: Coverage of the part, (S, S) float32 in [0, 1].
        skin: Colour of the part, (S, S, 3) float32 BGR.
        bevel_px: Width of the rounded edge.
        behind: The background, (S, S, 3) float32 BGR; drawn if not given.
    """
    size = cover.shape[0]
    if behind is None:
        behind = background(rng, size)
    if rng.random() < 0.7:
        offset = rng.integers(-6, 7, 2)
        cast = cv2.blur(np.roll(cover, tuple(offset), (0, 1)), (9, 9))
        behind = scale_light(behind, 1 - np.float32(rng.uniform(0.2, 0.5)) * cast)
    lit = scale_light(skin, bevel(rng, cover, bevel_px))
    lit = scale_light(lit, highlight(rng, size))
    return Canvas(blend(behind, lit, cover), cover > 0.5, behind, is_texture=False)
