"""Surfaces that fill the image: (rng, frame) -> (S, S, 3) float32 BGR in about [0, 255].

Each has its own normal variation (knots, veins, seams, pores, prints), some of it defect-like, so
that only what breaks the surface's own order is an anomaly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zsad.data.synthetic.colours import blend, grey, hsv, random_colour, scale_light
from zsad.data.synthetic.noise import (
    Frame,
    distance_to_integer,
    fractal,
    pixel_noise,
    smoothstep,
    value_noise,
    wave,
)
from zsad.types import ArrayF32

Texture = Callable[[np.random.Generator, Frame], ArrayF32]


def wood(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Grain lines that bend, with fine pores along them."""
    bend = fractal(rng, frame, 0.8, 1.6, 2) * np.float32(rng.uniform(0.1, 0.5))
    rings = wave((frame.v + 0.2 * bend) * np.float32(rng.uniform(5, 14)) + bend)
    pores = fractal(rng, frame, 5, 90, 2)
    hue = rng.uniform(14, 34)
    value = rng.uniform(0.4, 0.85)
    dark = hsv(hue, rng.uniform(0.4, 0.7), value * rng.uniform(0.6, 0.8))
    wooden = blend(hsv(hue, rng.uniform(0.3, 0.5), value), dark, rings**2)
    return scale_light(wooden, 1 + np.float32(rng.uniform(0.03, 0.08)) * pores)


def woven_fabric(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Plain or twill weave of two yarn colours."""
    count = rng.uniform(14, 30)
    wobble = np.float32(0.15) * value_noise(rng, frame, 4, 4)
    u, v = frame.u * np.float32(count) + wobble, frame.v * np.float32(count) + wobble
    shift = rng.choice([1, 2])
    over = wave((np.floor(u) + np.floor(v) * shift) / (2 * shift))
    warp, weft = 1 - 4 * (u % 1 - 0.5) ** 2, 1 - 4 * (v % 1 - 0.5) ** 2
    yarn = random_colour(rng, saturation=(0.0, 0.6), value=(0.35, 0.9))
    other = yarn * np.float32(rng.uniform(0.7, 1.0))
    cloth = blend(yarn, other, over)
    relief = np.where(over > 0.5, warp, weft).astype(np.float32)
    return scale_light(cloth, 0.62 + 0.38 * relief + 0.06 * value_noise(rng, frame, 60, 60))


def brushed_metal(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Fine parallel brush lines under a broad highlight, at times with a rolled seam."""
    lines = fractal(rng, frame, rng.uniform(1, 4), 110, 3, 0.7)
    gleam = np.exp(-(((frame.v - rng.random()) / rng.uniform(0.2, 0.6)) ** 2))
    tone = rng.uniform(0.35, 0.7) + np.float32(rng.uniform(0.03, 0.09)) * lines + 0.2 * gleam
    if rng.random() < 0.3:
        seam = distance_to_integer(frame.v * np.float32(rng.uniform(1, 2)))
        tone -= np.float32(0.2) * (1 - smoothstep(seam, 0.004, 0.02))
    tint = hsv(rng.uniform(0, 360), rng.uniform(0, 0.15), 1)
    return np.asarray(tone[..., None] * tint, np.float32)


def concrete(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Blotchy grey with fine grit and small pores."""
    blotch = fractal(rng, frame, 3, octaves=4, gain=0.6)
    grit = pixel_noise(rng, frame.size)
    pores = smoothstep(value_noise(rng, frame, 42, 42), 1.35, 1.6)
    tone = rng.uniform(0.45, 0.8) + 0.07 * blotch + np.float32(rng.uniform(0.01, 0.05)) * grit
    tint = hsv(rng.uniform(20, 60), rng.uniform(0, 0.12), 1)
    return scale_light(tone[..., None] * tint, 1 - 0.3 * pores)


def leather(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Pebbled grain between fine wrinkles, at times with a row of stitches."""
    cells = rng.uniform(14, 30)
    folds = np.abs(value_noise(rng, frame, cells, cells))
    creases = np.abs(value_noise(rng, frame, 1.4 * cells, 1.4 * cells))
    pebbles = np.minimum(folds, creases)
    hide = random_colour(rng, (5, 40), (0.2, 0.7), (0.25, 0.75))
    valleys = np.exp(-pebbles / np.float32(0.1))
    light = 1.05 - np.float32(rng.uniform(0.25, 0.5)) * valleys
    light += 0.08 * fractal(rng, frame, 3, octaves=2)
    skin = scale_light(hide, light)
    if rng.random() < 0.3:
        row = np.abs(frame.v - np.float32(rng.uniform(0.2, 0.8)))
        stitch = (row < 0.012) & (frame.u * np.float32(14) % 1 < 0.65)
        skin = blend(skin, random_colour(rng, value=(0.6, 0.95)), stitch.astype(np.float32))
    return skin


def ceramic_tiles(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Glazed tiles, each with its own tone, and grout lines between them."""
    count = np.float32(rng.uniform(2, 5))
    u, v = frame.u * count, frame.v * count * np.float32(rng.uniform(0.8, 1.6))
    edge = np.minimum(distance_to_integer(u), distance_to_integer(v))
    grout = 1 - smoothstep(edge, 0.02, 0.035)
    # A cheap hash gives every tile its own tone.
    tone = np.sin(np.floor(u + 0.5) * 12.99 + np.floor(v + 0.5) * 78.23 + rng.uniform(0, 6))
    glaze = random_colour(rng, saturation=(0.05, 0.5), value=(0.5, 0.9))
    shade = 1 + 0.06 * tone + 0.05 * fractal(rng, frame, 4, octaves=2)
    return blend(scale_light(glaze, shade.astype(np.float32)), grey(rng.uniform(0.3, 0.7)), grout)


def cardboard(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Brown board with faint flutes, fibres and at times a printed bar."""
    flutes = np.sin(frame.v * np.float32(rng.uniform(90, 200)))
    fibres = smoothstep(value_noise(rng, frame, 14, 80), 1.0, 1.6)
    board = hsv(rng.uniform(24, 38), rng.uniform(0.2, 0.5), rng.uniform(0.5, 0.85))
    light = 1 + 0.03 * flutes + 0.05 * fractal(rng, frame, 5, octaves=3) - 0.12 * fibres
    sheet = scale_light(board, light)
    if rng.random() < 0.4:
        across = np.abs(frame.v - np.float32(rng.uniform(0.2, 0.8))) < rng.uniform(0.02, 0.09)
        bars = np.sin(frame.u * np.float32(rng.uniform(20, 90))) > rng.uniform(-0.9, 0.3)
        ink = (across & bars).astype(np.float32) * np.float32(0.8)
        sheet = blend(sheet, random_colour(rng, value=(0.1, 0.4)), ink)
    return sheet


def terrazzo(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Stone chips of several colours and sizes in a pale matrix."""
    field = blend(grey(rng.uniform(0.6, 0.85)), grey(0.75), np.zeros_like(frame.u))
    for _ in range(4):
        cells = rng.uniform(18, 32)
        chips = smoothstep(value_noise(rng, frame, cells, cells), 0.75, 0.85)
        field = blend(field, random_colour(rng, saturation=(0, 0.4), value=(0.2, 0.8)), chips)
    return scale_light(field, 1 + 0.03 * fractal(rng, frame, 20, octaves=2))


def marble(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Polished stone with dark and pale veins."""
    warp = fractal(rng, frame, 2.2, octaves=4, gain=0.55)
    vein = np.abs(np.sin(frame.u * np.float32(rng.uniform(3, 8)) + 1.6 * warp))
    weight = (1 - smoothstep(vein, 0, rng.uniform(0.1, 0.4))) * smoothstep(warp, -0.8, 0.6)
    stone = random_colour(rng, saturation=(0, 0.25), value=(0.45, 0.9))
    ground = scale_light(stone, 1 + 0.08 * fractal(rng, frame, 4, octaves=3))
    return blend(ground, stone * np.float32(rng.choice([0.55, 0.7, 1.3])), weight)


def carpet(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Rows of tufted pile with flecks of a second colour."""
    rows = wave(frame.v * np.float32(rng.uniform(18, 34)) + 0.2 * value_noise(rng, frame, 20, 20))
    tufts = value_noise(rng, frame, 60, 40)
    pile = random_colour(rng, saturation=(0.05, 0.6), value=(0.25, 0.75))
    fleck = random_colour(rng, saturation=(0.05, 0.5), value=(0.3, 0.8))
    flecks = smoothstep(value_noise(rng, frame, 34, 34), 0.5, 0.9) * np.float32(rng.uniform(0, 0.8))
    light = 0.7 + 0.25 * rows + 0.14 * tufts + 0.06 * pixel_noise(rng, frame.size)
    return scale_light(blend(pile, fleck, flecks), light)


def knitted_fabric(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Columns of V-shaped stitches, at times with coloured stripes."""
    count = np.float32(rng.uniform(8, 16))
    column = frame.u * count
    side = np.abs(column % 1 - 0.5) * 2
    row = frame.v * count * np.float32(1.3) + np.float32(0.8) * side
    loop = wave(row) * (0.35 + 0.65 * np.sin(np.pi * side))
    yarn = random_colour(rng, saturation=(0.05, 0.7), value=(0.4, 0.9))
    cloth = scale_light(yarn, 0.5 + 0.5 * loop + 0.07 * value_noise(rng, frame, 70, 70))
    if rng.random() < 0.35:
        stripe = (np.floor(row) % rng.integers(4, 9) < rng.integers(1, 4)).astype(np.float32)
        cloth = scale_light(cloth, 1 - np.float32(rng.uniform(0.1, 0.35)) * stripe)
    return cloth


def cork(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Pressed granules of several browns with dark gaps and lenticels."""
    cells = rng.uniform(10, 20)
    granules = value_noise(rng, frame, cells, cells)
    gaps = 1 - smoothstep(np.abs(value_noise(rng, frame, 1.2 * cells, 1.2 * cells)), 0.0, 0.12)
    pits = smoothstep(value_noise(rng, frame, 30, 30), 1.0, 1.3)
    bark = hsv(rng.uniform(22, 36), rng.uniform(0.35, 0.6), rng.uniform(0.5, 0.8))
    light = 1 + 0.1 * granules - 0.16 * gaps - 0.3 * pits + 0.04 * pixel_noise(rng, frame.size)
    return scale_light(bark, light)


def rubber_mat(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Dark rubber with a lattice of raised studs."""
    count = np.float32(rng.uniform(6, 13))
    u = frame.u * count
    v = frame.v * count + np.float32(0.5) * (np.floor(u) % 2)
    du, dv = u % 1 - 0.5, v % 1 - 0.5
    stud = 1 - smoothstep(du**2 + dv**2, 0.05, 0.11)
    lit = np.clip((du * np.cos(1.0) + dv * np.sin(1.0)) * 1.4, -0.5, 0.5) * stud
    rubber = random_colour(rng, saturation=(0, 0.4), value=(0.2, 0.5))
    light = 0.85 + 0.2 * stud + 0.7 * lit + 0.05 * fractal(rng, frame, 30, octaves=2)
    return scale_light(rubber, light)


def wire_mesh(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Crossed round wires over a dark ground."""
    count = np.float32(rng.uniform(7, 16))
    bow = np.float32(0.1) * value_noise(rng, frame, 2, 2)
    u, v = frame.u * count + bow, frame.v * count + bow
    width = rng.uniform(0.13, 0.22)
    across, along = distance_to_integer(u), distance_to_integer(v)
    wire_u = np.sqrt(np.clip(1 - (across / width) ** 2, 0, 1))
    wire_v = np.sqrt(np.clip(1 - (along / width) ** 2, 0, 1))
    steel = random_colour(rng, saturation=(0, 0.3), value=(0.6, 0.95))
    floor = random_colour(rng, saturation=(0, 0.4), value=(0.08, 0.4))
    over = np.maximum(wire_u, wire_v).astype(np.float32)
    return blend(floor, scale_light(steel, 0.35 + 0.65 * over), (over > 0).astype(np.float32))
