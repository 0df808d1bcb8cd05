"""Defect types that change how a surface looks, and not its shape; drawers as in `defects`."""

from __future__ import annotations

import cv2
import numpy as np

from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.colours import blend, hsv
from zsad.data.synthetic.marks import (
    Drawn,
    blob,
    contrast,
    local_luma,
    on_part,
    shift,
    soft,
    spot,
)
from zsad.data.synthetic.noise import fractal, random_frame
from zsad.data.synthetic.shapes import fill


def stain(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A ragged spot of dried liquid, often with a stronger edge."""
    size = canvas.size
    field = blob(rng, size, spot(rng, canvas.part), rng.uniform(0.05, 0.15), 0.4)
    rim = np.exp(-((field / np.float32(0.15)) ** 2)) * np.float32(rng.uniform(0, 0.6))
    cover = on_part(canvas, soft(field, rng.uniform(0.1, 0.5)))
    change = contrast(rng, local_luma(canvas, cover), 35, 85, dark=0.75)
    tint = hsv(rng.uniform(0, 360), rng.uniform(0, 0.5), 1) / np.float32(255)
    return shift(canvas, cover * (0.8 + rim), change, tint), cover > 0.4


def discolouration(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A broad area of another shade with soft limits."""
    size = canvas.size
    field = blob(rng, size, spot(rng, canvas.part), rng.uniform(0.08, 0.18), 0.35)
    cover = on_part(canvas, soft(field, rng.uniform(0.2, 0.5)))
    change = contrast(rng, local_luma(canvas, cover), 30, 65)
    tint = hsv(rng.uniform(0, 360), rng.uniform(0.2, 0.7), 1) / np.float32(255)
    tint = tint / np.float32(tint.mean())
    return shift(canvas, cover, change, tint), cover > 0.4


def contamination(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A scatter of specks: dust, chips or powder."""
    size, centre = canvas.size, spot(rng, canvas.part)
    count, spread = int(rng.integers(8, 45)), rng.uniform(0.04, 0.12)
    outlines = []
    for x, y in np.array(centre) + rng.normal(0, spread, (count, 2)):
        turn = np.sort(rng.uniform(0, 2 * np.pi, 6))
        reach = rng.uniform(0.004, 0.013) * rng.uniform(0.6, 1.3, 6)
        corners = np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], axis=1)
        outlines.append(corners.astype(np.float32) * size)
    cover = on_part(canvas, fill(size, *outlines))
    change = contrast(rng, local_luma(canvas, cover), 40, 110, dark=0.6)
    return shift(canvas, cover, change), cover > 0.35


def abrasion(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A rubbed patch: the surface's own texture is gone, fine parallel marks take its place."""
    size = canvas.size
    field = blob(rng, size, spot(rng, canvas.part), rng.uniform(0.06, 0.17), 0.3)
    cover = on_part(canvas, soft(field, 0.3))
    marks = fractal(rng, random_frame(rng, size), 3, 70, 2, 0.8)
    level = local_luma(canvas, cover)
    change = contrast(rng, level, 15, 45, dark=0.35)
    marks = np.float32(change) + np.float32(rng.uniform(20, 40)) * marks
    worn = cv2.blur(canvas.image, (15, 15)) + marks[..., None]
    return blend(canvas.image, np.asarray(worn, np.float32), cover), cover > 0.4


def burn(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A scorched spot: black in the middle, brown around."""
    size = canvas.size
    field = blob(rng, size, spot(rng, canvas.part), rng.uniform(0.06, 0.16), 0.45)
    scorch, char = soft(field, 0.5), soft(field - np.float32(0.35), 0.5)
    brown = canvas.image * (
        hsv(28, rng.uniform(0.4, 0.7), rng.uniform(0.45, 0.7)) / np.float32(255)
    )
    image = blend(canvas.image, brown, on_part(canvas, scorch))
    soot = hsv(20, 0.3, rng.uniform(0.12, 0.3))
    image = blend(image, soot, on_part(canvas, char * np.float32(rng.uniform(0.7, 1.0))))
    return image, on_part(canvas, scorch) > 0.4
