"""Defects that only the pretrain split shows: streaks, corrosion, pores, flakes and spatter.

Drawers as in `defects`.
"""

from __future__ import annotations

import numpy as np

from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.colours import blend, luma, random_colour, scale_light
from zsad.data.synthetic.marks import Drawn, blob, contrast, local_luma, on_part, shift, soft, spot
from zsad.data.synthetic.noise import (
    Frame,
    fractal,
    pixel_grid,
    pixel_noise,
    random_frame,
    smoothstep,
)
from zsad.data.synthetic.shapes import circle, fill
from zsad.types import ArrayF32

_APART = 35.0
"""Smallest difference of brightness between an opaque mark and its surface, in grey levels."""

# Hue, saturation and value of what grows on metal, stone and wood.
_GROWTHS = (
    ((8, 24), (0.6, 0.85), (0.4, 0.7)),  # iron oxide
    ((145, 185), (0.25, 0.5), (0.5, 0.8)),  # verdigris
    ((30, 60), (0.02, 0.12), (0.75, 0.95)),  # white rust, lime, salt
    ((60, 100), (0.15, 0.4), (0.2, 0.4)),  # mould
)


def streak(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A long straight band of fine lines, as a roller or a wiper leaves."""
    size, at, angle = canvas.size, spot(rng, canvas.part), rng.uniform(0, 2 * np.pi)
    x, y = pixel_grid(size)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = x - np.float32(at[0]), y - np.float32(at[1])
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    half, edge = rng.uniform(0.012, 0.045), rng.uniform(0.15, 0.9)
    half_length = rng.uniform(0.2, 0.7)
    lines = fractal(rng, Frame(along, across), 1, rng.uniform(1, 3) / half, 2, 0.7)
    band = 1 - smoothstep(np.abs(across), (1 - edge) * half, half)
    ends = 1 - smoothstep(np.abs(along), 0.7 * half_length, half_length)
    cover = on_part(canvas, band * ends)
    strength = np.clip(np.float32(0.85) + np.float32(0.4) * lines, 0.3, 1.4)
    change = contrast(rng, local_luma(canvas, cover), 40, 90)
    return shift(canvas, cover * strength, change), cover > 0.35


def corrosion(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A cluster of ragged, grainy blotches of rust, verdigris, salt or mould."""
    size, frame = canvas.size, random_frame(rng, canvas.size)
    disc = blob(rng, size, spot(rng, canvas.part), rng.uniform(0.07, 0.19), 0.3)
    clots = fractal(rng, frame, rng.uniform(10, 24), octaves=3, gain=0.7)
    field = np.minimum(clots + np.float32(rng.uniform(0.3, 0.7)) * disc, 2 * disc)
    cover = on_part(canvas, soft(np.asarray(field, np.float32), 0.3))
    colour = random_colour(rng, *_GROWTHS[int(rng.integers(len(_GROWTHS)))])
    colour = _apart(colour, local_luma(canvas, cover))
    pits = fractal(rng, frame, 45, octaves=2, gain=0.8)
    crust = scale_light(colour, 1 + np.float32(rng.uniform(0.1, 0.25)) * pits)
    return blend(canvas.image, crust, cover * np.float32(rng.uniform(0.7, 0.95))), cover > 0.4


def pinholes(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A cluster of round pits, each dark with a lit rim on one side."""
    size, centre = canvas.size, spot(rng, canvas.part)
    count, spread = int(rng.integers(6, 28)), rng.uniform(0.03, 0.09)
    pits = [
        circle(x * size, y * size, max(rng.uniform(0.006, 0.013) * size, 1.0), 16)
        for x, y in np.array(centre) + rng.normal(0, spread, (count, 2))
    ]
    cover = on_part(canvas, fill(size, *pits))
    step = tuple(rng.choice([-1, 1], 2) * max(round(size / 150), 1))
    rim = on_part(canvas, np.maximum(np.roll(cover, step, (0, 1)) - cover, 0))
    lit = shift(canvas, rim, rng.uniform(25, 60))
    level = local_luma(canvas, cover)
    floor = canvas.image * np.float32(rng.uniform(0.25, 0.55)) if level > 60 else lit + 60
    return blend(lit, np.asarray(floor, np.float32), cover), np.maximum(cover, rim) > 0.35


def flaking(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Angular flakes of the surface are gone; a ground of another shade shows."""
    size, centre = canvas.size, spot(rng, canvas.part)
    spread = rng.uniform(0.03, 0.08)
    flakes = []
    for x, y in np.array(centre) + rng.normal(0, spread, (int(rng.integers(4, 12)), 2)):
        turn = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 9))))
        reach = rng.uniform(0.02, 0.055) * rng.uniform(0.7, 1.2, turn.size)
        flakes.append(np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], axis=1) * size)
    cover = on_part(canvas, fill(size, *(flake.astype(np.float32) for flake in flakes)))
    colour = _apart(
        random_colour(rng, saturation=(0, 0.4), value=(0.15, 0.9)), local_luma(canvas, cover)
    )
    grain = np.float32(0.05) * fractal(rng, random_frame(rng, size), 30, octaves=2)
    ground = scale_light(colour, 1 + grain + np.float32(0.02) * pixel_noise(rng, size))
    # The coat is thick: its edge throws a shadow on the ground.
    step = tuple(rng.choice([-2, -1, 1, 2], 2))
    shade = np.maximum(cover - np.roll(cover, step, (0, 1)), 0)
    ground = scale_light(ground, 1 - np.float32(rng.uniform(0.2, 0.5)) * shade)
    return blend(canvas.image, ground, cover), cover > 0.4


def spatter(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A splash of paint, glue or solder: a flat blot, drops around it, at times a run."""
    size, centre, angle = canvas.size, spot(rng, canvas.part), rng.uniform(0, 2 * np.pi)
    radius = rng.uniform(0.02, 0.06)
    cover = soft(blob(rng, size, centre, radius, 0.35), 0.2)
    drops = []
    for _ in range(int(rng.integers(4, 22))):
        away, turn = radius * (1 + rng.exponential(1.5)), angle + rng.normal(0, 0.9)
        at = np.array(centre) + away * np.array([np.cos(turn), np.sin(turn)])
        drop = radius * rng.uniform(0.08, 0.4) / (0.5 + 0.5 * away / radius)
        drops.append(circle(at[0] * size, at[1] * size, max(drop * size, 0.8), 16))
    if rng.random() < 0.3:
        run = np.array(centre) + np.linspace(0, rng.uniform(2, 6) * radius, 12)[:, None] * [0, 1]
        drops += [circle(x * size, y * size, 0.25 * radius * size, 16) for x, y in run]
    cover = on_part(canvas, np.maximum(cover, fill(size, *drops)))
    colour = _apart(random_colour(rng, (0, 360), (0, 0.9), (0.05, 0.98)), local_luma(canvas, cover))
    return blend(canvas.image, colour, cover * np.float32(rng.uniform(0.8, 1.0))), cover > 0.35


def _apart(colour: ArrayF32, level: float) -> ArrayF32:
    """The colour, made lighter or darker where the surface is about as bright."""
    own = float(luma(colour))
    if abs(own - level) >= _APART:
        return colour
    aim = level - _APART if level > 110 else level + _APART
    return np.asarray(np.clip(colour * np.float32(aim / max(own, 1.0)), 0, 255), np.float32)
