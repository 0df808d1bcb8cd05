"""The defect types that change a part's shape: each draws one and says which pixels it changed.

A drawer is `(rng, canvas) -> (image, mask)`: image (S, S, 3) float32 BGR in about [0, 255], mask
(S, S) bool. The table in `defect_table` names them, says where they may occur and how captions
call them.
"""

from __future__ import annotations

import cv2
import numpy as np

from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.colours import blend, random_colour, scale_light
from zsad.data.synthetic.marks import (
    Drawn,
    blob,
    contrast,
    edge_of,
    line_width,
    local_luma,
    on_part,
    shift,
    soft,
    spot,
    walk,
)
from zsad.data.synthetic.noise import fractal, pixel_grid, pixel_noise, random_frame, smoothstep
from zsad.data.synthetic.shapes import fill, stroke


def scratch(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """One to three nearly straight, nearly parallel thin lines."""
    size, start, angle = canvas.size, spot(rng, canvas.part), rng.uniform(0, 2 * np.pi)
    cover = np.zeros((size, size), np.float32)
    for _ in range(rng.choice([1, 1, 2, 3])):
        near = (start[0] + rng.normal(0, 0.02), start[1] + rng.normal(0, 0.02))
        path = walk(rng, near, angle + rng.normal(0, 0.1), rng.uniform(0.15, 0.6), 0.04, 9)
        cover = np.maximum(cover, stroke(size, path * size, line_width(rng, size, 1.2, 3.0)))
    cover = on_part(canvas, cover)
    change = contrast(rng, local_luma(canvas, cover), 40, 110, dark=0.4)
    return shift(canvas, cover, change), cover > 0.35


def crack(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A jagged dark line with branches."""
    size, angle = canvas.size, rng.uniform(0, 2 * np.pi)
    trunk = walk(rng, spot(rng, canvas.part), angle, rng.uniform(0.2, 0.7), 0.5, 16)
    cover = stroke(size, trunk * size, line_width(rng, size, 1.5, 3.5))
    for _ in range(rng.integers(0, 4)):
        fork = trunk[rng.integers(3, 13)]
        turn = angle + rng.choice([-1, 1]) * rng.uniform(0.5, 1.3)
        twig = walk(rng, (0.0, 0.0), turn, rng.uniform(0.06, 0.22), 0.4, 8)
        twig = twig - twig[0] + fork
        cover = np.maximum(cover, stroke(size, twig * size, line_width(rng, size, 0.8, 1.8)))
    cover = on_part(canvas, cover)
    level = local_luma(canvas, cover)
    change = -rng.uniform(40, max(0.65 * level, 50)) if level > 70 else rng.uniform(30, 80)
    return shift(canvas, cover, change), cover > 0.35


def hole(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A small opening through the surface with a lit rim."""
    size = canvas.size
    field = blob(rng, size, spot(rng, canvas.part), rng.uniform(0.025, 0.08), 0.25)
    cover = on_part(canvas, soft(field, 0.15))
    depth = canvas.behind * np.float32(rng.uniform(0.2, 0.7))
    rim = on_part(canvas, soft(field + np.float32(0.35), 0.2))
    raised = shift(canvas, rim, rng.uniform(-40, 40))
    return blend(raised, depth, cover), np.maximum(cover, rim) > 0.35


def dent(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A pressed hollow: one side in shade, the other lit."""
    return _relief(rng, canvas, rng.uniform(0.05, 0.14), rng.uniform(0.3, 0.6), gleam=0.0)


def bump(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A raised blister with a highlight."""
    return _relief(
        rng, canvas, rng.uniform(0.04, 0.1), rng.uniform(0.2, 0.45), rng.uniform(0.25, 0.6)
    )


def _relief(
    rng: np.random.Generator, canvas: Canvas, radius: float, strength: float, gleam: float
) -> Drawn:
    size = canvas.size
    field = blob(rng, size, spot(rng, canvas.part), radius, 0.1)
    height = smoothstep(field, 0, 1)
    gx = cv2.Sobel(height, cv2.CV_32F, 1, 0) * np.float32(0.125)
    gy = cv2.Sobel(height, cv2.CV_32F, 0, 1) * np.float32(0.125)
    turn = rng.uniform(0, 2 * np.pi)
    tilt = (gx * np.float32(np.cos(turn)) + gy * np.float32(np.sin(turn))) * np.float32(
        radius * size
    )
    light = np.float32(strength) * tilt + np.float32(gleam) * smoothstep(field, 0.5, 1.0)
    cover = on_part(canvas, (field > 0).astype(np.float32))
    base = np.maximum(canvas.image, np.float32(60))
    image = canvas.image + base * (np.maximum(light, np.float32(-0.45)) * canvas.part)[..., None]
    return np.asarray(image, np.float32), cover > 0.5


def chip(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A splinter broken out of an edge; on a surface without edges, a flaked-off facet."""
    size = canvas.size
    at = spot(rng, canvas.part if canvas.is_texture else edge_of(canvas.part))
    radius = rng.uniform(0.04, 0.11)
    turn = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 9))))
    reach = radius * rng.uniform(0.6, 1.2, turn.size)
    outline = np.stack([at[0] + reach * np.cos(turn), at[1] + reach * np.sin(turn)], axis=1)
    cover = on_part(canvas, fill(size, outline.astype(np.float32) * size))
    if canvas.is_texture:
        level = local_luma(canvas, cover)
        change = contrast(rng, level, 25, 80, dark=0.3)
        facet = np.float32(level + change) + np.float32(6) * pixel_noise(rng, size)
        facet_bgr = np.asarray(np.repeat(facet[..., None], 3, axis=2), np.float32)
        fresh = blend(canvas.image, facet_bgr, cover * np.float32(0.85))
        return fresh, cover > 0.4
    inner = cv2.erode(cover, np.ones((3, 3), np.uint8), iterations=int(rng.integers(1, 4)))
    broken = shift(canvas, cover, contrast(rng, local_luma(canvas, cover), 25, 70, dark=0.4))
    return blend(broken, canvas.behind, np.asarray(inner, np.float32)), cover > 0.4


def missing_part(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A large piece broken off or never there."""
    size = canvas.size
    x, y = pixel_grid(size)
    at, angle = spot(rng, canvas.part), rng.uniform(0, 2 * np.pi)
    jag = np.float32(0.02) * fractal(rng, random_frame(rng, size), 8, octaves=2)
    dx, dy = x - np.float32(at[0]), y - np.float32(at[1])
    side = np.float32(np.cos(angle)) * dx + np.float32(np.sin(angle)) * dy + jag
    far = np.abs(np.float32(np.cos(angle)) * dy - np.float32(np.sin(angle)) * dx) + jag
    gone = soft(np.minimum(side, np.float32(rng.uniform(0.06, 0.16)) - far), 0.015)
    cover = on_part(canvas, gone)
    return blend(canvas.image, canvas.behind, cover), cover > 0.4


def thread(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A loose fibre lying across the part, with its shadow."""
    size = canvas.size
    turn = rng.normal(0, 0.12)
    path = walk(rng, spot(rng, canvas.part), rng.uniform(0, 6.3), rng.uniform(0.25, 0.8), 0.08, 24)
    bend = np.linspace(-1, 1, 24)[:, None] ** 2 * turn
    path = (path + bend * rng.uniform(-1, 1, 2)).astype(np.float32)
    cover = stroke(size, path * size, line_width(rng, size, 1.2, 2.8))
    shadow = np.roll(cover, 2, axis=(0, 1)) * np.float32(0.35)
    colour = random_colour(rng, saturation=(0, 0.9), value=(0.05, 1.0))
    level = local_luma(canvas, cover)
    if abs(float(colour.mean()) - level) < 45:
        colour = np.full(3, 235 if level < 128 else 20, np.float32)
    shaded = scale_light(canvas.image, 1 - shadow)
    changed = (cover > 0.35) | (shadow > 0.1)
    return blend(shaded, colour, cover * np.float32(0.95)), changed


def distortion(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A pulled or misaligned pattern: the texture is locally displaced."""
    size = canvas.size
    x, y = pixel_grid(size)
    field = blob(rng, size, spot(rng, canvas.part), rng.uniform(0.08, 0.15), 0.1)
    pull = smoothstep(field, 0, 0.8) * np.float32(rng.uniform(0.05, 0.1) * size)
    turn = rng.uniform(0, 2 * np.pi)
    map_x = x * np.float32(size) - np.float32(0.5) + pull * np.float32(np.cos(turn))
    map_y = y * np.float32(size) - np.float32(0.5) + pull * np.float32(np.sin(turn))
    moved = cv2.remap(canvas.image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    cover = on_part(canvas, (field > 0.05).astype(np.float32))
    return blend(canvas.image, np.asarray(moved, np.float32), cover), cover > 0.5


def cut(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A clean slit, open in the middle, with one lit lip."""
    size, angle = canvas.size, rng.uniform(0, 2 * np.pi)
    length, gape = rng.uniform(0.15, 0.45), rng.uniform(0.008, 0.024)
    t = np.linspace(-1, 1, 17)
    lens = np.concatenate(
        [np.stack([t, 1 - t**2], axis=1), np.stack([t, t**2 - 1], axis=1)[::-1]]
    ) * np.array([0.5 * length, 0.5 * gape])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    outline = ((lens @ turn + np.array(spot(rng, canvas.part))) * size).astype(np.float32)
    cover = on_part(canvas, fill(size, outline))
    lip = on_part(canvas, np.roll(cover, 2, axis=int(rng.integers(2))))
    lit = shift(canvas, lip * np.float32(0.6), rng.uniform(30, 70))
    level = local_luma(canvas, cover)
    inside = canvas.image * np.float32(rng.uniform(0.35, 0.6) if level > 70 else 2.0)
    return blend(lit, inside, cover), np.maximum(cover, lip) > 0.35


def wrinkle(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A crease: a bright and a dark band side by side along a bent line."""
    size, angle = canvas.size, rng.uniform(0, 2 * np.pi)
    x, y = pixel_grid(size)
    at, half = spot(rng, canvas.part), rng.uniform(0.12, 0.35)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along = cos * (x - np.float32(at[0])) + sin * (y - np.float32(at[1]))
    across = cos * (y - np.float32(at[1])) - sin * (x - np.float32(at[0]))
    across = across + np.float32(rng.uniform(-0.8, 0.8)) * along**2
    width = np.float32(rng.uniform(0.008, 0.02))
    ends = 1 - smoothstep(np.abs(along), 0.8 * half, half)
    profile = across / width * np.exp(np.float32(0.5) - np.float32(0.5) * (across / width) ** 2)
    fold = profile * ends * canvas.part
    image = canvas.image + (fold * np.float32(rng.uniform(30, 70)))[..., None]
    cover = on_part(canvas, ((np.abs(across) < 2 * width) & (ends > 0.3)).astype(np.float32))
    return np.asarray(image, np.float32), cover > 0.5
