"""Everyday goods that only the pretrain split shows: (rng, size) -> Canvas, as in `objects`."""

from __future__ import annotations

import numpy as np

from zsad.data.synthetic.assembly import assemble, metal, metal_or_paint, paint, printed_text
from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.colours import blend, grey, hsv, random_colour, scale_light
from zsad.data.synthetic.noise import fractal, random_frame, smoothstep
from zsad.data.synthetic.shapes import (
    Pose,
    box,
    circle,
    disc,
    fill,
    gear_outline,
    outline,
    radial,
    random_pose,
    ring,
    rounded_box,
)
from zsad.types import ArrayF32


def coin(rng: np.random.Generator, size: int) -> Canvas:
    """A struck disc with a rim of beads, an emblem and a number."""
    pose, field = (made := random_pose(rng, size)), radial(size, made)
    beads = [circle(x, y, 0.03, 10) for x, y in circle(0, 0, 0.86, int(rng.integers(24, 60)))]
    star = circle(0, 0, rng.uniform(0.4, 0.6), 2 * int(rng.integers(3, 9)))
    star[::2] *= np.float32(rng.uniform(0.45, 0.9))
    emblem = fill(size, pose.place(star), *map(pose.place, beads))
    relief = np.roll(emblem, 2, (0, 1)) - emblem
    text = printed_text(rng, size, pose, rng.uniform(0.2, 0.35), int(rng.integers(1, 5)))
    light = 1 + np.float32(rng.uniform(0.2, 0.5)) * relief - 0.4 * text
    skin = scale_light(metal(rng, size), light * (1 - 0.3 * ring(field, 0.94, 0.02)))
    return assemble(rng, disc(size, pose, 0, 0, 1), skin, rng.uniform(3, 7))


def lens(rng: np.random.Generator, size: int) -> Canvas:
    """A barrel with rings and print around glass with coloured reflections."""
    pose, field = (made := random_pose(rng, size)), radial(size, made)
    opening = rng.uniform(0.45, 0.7)
    skin = paint(rng, size, (0.08, 0.6))
    for radius in rng.uniform(opening, 1.0, int(rng.integers(2, 6))):
        skin = scale_light(skin, 1 + np.float32(rng.uniform(-0.5, 0.7)) * ring(field, radius, 0.02))
    for turn in np.linspace(0, np.pi * rng.uniform(0.5, 1.5), int(rng.integers(4, 11))):
        at = 0.5 * (1 + opening)
        mark = pose.within(at * np.cos(turn), at * np.sin(turn), 0.1, float(turn + 0.5 * np.pi))
        skin = blend(skin, grey(0.85), printed_text(rng, size, mark, 1.0, 1))
    glass = random_colour(rng, saturation=(0.1, 0.8), value=(0.08, 0.4))
    skin = blend(skin, glass, 1 - smoothstep(field, opening - 0.02, opening + 0.01))
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.uniform(-0.5, 0.5, 2) * opening
        spot = disc(size, pose, float(x), float(y), rng.uniform(0.05, 0.35) * opening)
        skin = blend(skin, random_colour(rng, saturation=(0, 0.9), value=(0.4, 1)), 0.35 * spot)
    return assemble(rng, disc(size, pose, 0, 0, 1), skin, rng.uniform(3, 8))


def biscuit(rng: np.random.Generator, size: int) -> Canvas:
    """A baked shape with a scalloped edge, browned rim and a grid of pricks."""
    pose, half = random_pose(rng, size), rng.uniform(0.6, 1.0)
    squeeze = np.array([1.0, half], np.float32)
    edge = gear_outline(int(rng.integers(14, 32)), rng.uniform(0.04, 0.1)) * squeeze
    dough = hsv(rng.uniform(24, 40), rng.uniform(0.3, 0.7), rng.uniform(0.55, 0.9))
    frame = random_frame(rng, size)
    light = 1 + np.float32(0.05) * fractal(rng, frame, 18, octaves=3)
    light -= np.float32(rng.uniform(0.1, 0.35)) * smoothstep(radial(size, pose), 0.5, 1.1)
    step = rng.uniform(0.22, 0.34)
    ticks = np.arange(-2, 3) * step
    pricks = [circle(x, y * half, 0.035, 12) for x in ticks for y in ticks if np.hypot(x, y) < 0.7]
    holes = fill(size, *map(pose.place, pricks))
    skin = scale_light(dough, light * (1 - np.float32(rng.uniform(0.4, 0.7)) * holes))
    if rng.random() < 0.4:
        chips = [circle(x, y, 0.07, 7) for x, y in rng.uniform(-0.5, 0.5, (8, 2)) * squeeze]
        skin = blend(skin, hsv(22, 0.6, 0.2), fill(size, *map(pose.place, chips)))
    return assemble(rng, fill(size, pose.place(edge)), skin, rng.uniform(5, 12))


def zipper(rng: np.random.Generator, size: int) -> Canvas:
    """Two tapes, their teeth and a slider; open behind it at times."""
    pose, half = random_pose(rng, size), rng.uniform(0.35, 0.6)
    cover = fill(size, pose.place(box(-1, -half, 1, half)))
    pitch = rng.uniform(0.06, 0.13)
    at = rng.uniform(-0.5, 0.6)
    gape = rng.uniform(0, 0.25)
    teeth, gap = [], outline([(at, 0), (-1, -gape), (-1, gape)])
    for number, x in enumerate(np.arange(-0.98, 0.95, pitch)):
        side = 1 if number % 2 else -1
        shift = side * gape * max(0.0, (at - float(x)) / (1 + at))
        low, high = sorted((shift - side * 0.02, shift + side * 0.13))
        teeth.append(box(float(x), low, float(x) + 0.7 * pitch, high))
    cover = cover * (1 - fill(size, pose.place(gap)))
    tape = scale_light(
        paint(rng, size), 1 + np.float32(0.05) * fractal(rng, random_frame(rng, size), 60)
    )
    skin = blend(tape, random_colour(rng, value=(0.3, 0.95)), fill(size, *map(pose.place, teeth)))
    slider = rounded_box(0.14, 0.17, 0.05) + np.array([at, 0], np.float32)
    skin = blend(skin, metal(rng, size), fill(size, pose.place(slider)))
    return assemble(rng, np.maximum(cover, fill(size, pose.place(slider))), skin, 3)


def gauge(rng: np.random.Generator, size: int) -> Canvas:
    """A dial with ticks, a coloured range, a number and a hand."""
    pose, field = (made := random_pose(rng, size)), radial(size, made)
    dark = rng.random() < 0.3
    face, ink = (grey(0.12), grey(0.9)) if dark else (grey(rng.uniform(0.75, 0.95)), grey(0.1))
    skin = blend(metal_or_paint(rng, size), face, 1 - smoothstep(field, 0.83, 0.86))
    turns = np.linspace(-2.2, 2.2, int(rng.integers(9, 31)))
    marks = [_ray(turn, 0.62 if n % 5 == 0 else 0.7, 0.78, 0.015) for n, turn in enumerate(turns)]
    start = float(rng.uniform(-2.2, 1.2))
    arc = np.linspace(start, start + rng.uniform(0.4, 1.0), 12)
    around = np.stack([np.cos(arc), np.sin(arc)], axis=1)
    zone = np.concatenate([around * 0.8, around[::-1] * 0.7]).astype(np.float32)
    skin = blend(skin, random_colour(rng, saturation=(0.5, 0.9)), fill(size, pose.place(zone)))
    skin = blend(skin, ink, fill(size, *map(pose.place, marks)))
    label = pose.within(-0.35, 0.0, 0.5, 0.5 * np.pi)
    skin = blend(skin, ink, printed_text(rng, size, label, 0.3, int(rng.integers(2, 5))))
    hand = fill(size, pose.place(_ray(float(rng.uniform(-2.2, 2.2)), -0.15, 0.68, 0.025)))
    skin = blend(skin, random_colour(rng, value=(0.1, 0.9)), hand)
    skin = blend(skin, grey(0.3), disc(size, pose, 0, 0, 0.07))
    return assemble(rng, disc(size, pose, 0, 0, 1), skin, rng.uniform(3, 7))


def label(rng: np.random.Generator, size: int) -> Canvas:
    """A printed card with a bar code, lines of text and a coloured field."""
    pose, half = random_pose(rng, size), rng.uniform(0.5, 0.8)
    cover = fill(size, pose.place(rounded_box(0.95, half, rng.uniform(0.01, 0.12))))
    card = random_colour(rng, saturation=(0, 0.3), value=(0.7, 0.97))
    skin = scale_light(card, 1 + np.float32(0.015) * fractal(rng, random_frame(rng, size), 30))
    top = rng.uniform(-0.6, -0.3) * half
    band = fill(size, pose.place(box(-1, -1, 1, top))) * cover
    skin = blend(skin, random_colour(rng), band * np.float32(rng.choice([0, 1])))
    x, bars = -0.8, []
    while x < 0.1:
        wide = float(rng.choice([0.012, 0.024, 0.04]))
        bars.append(box(x, 0.15 * half, x + wide, 0.8 * half))
        x += wide + float(rng.choice([0.014, 0.028]))
    ink = fill(size, *map(pose.place, bars))
    for drop in np.linspace(-0.15, 0.7, int(rng.integers(2, 5))):
        row = pose.within(0.5 if drop > 0.1 else -0.2, float(drop) * half, 1.0)
        ink = np.maximum(ink, printed_text(rng, size, row, 0.12, int(rng.integers(3, 8))))
    return assemble(rng, cover, blend(skin, grey(rng.uniform(0.03, 0.3)), ink), 2)


def keypad(rng: np.random.Generator, size: int) -> Canvas:
    """A panel with a grid of marked keys, some in another colour."""
    pose, across, down = random_pose(rng, size), int(rng.integers(2, 6)), int(rng.integers(2, 5))
    half = 0.9 * min(down / across, 1.0)
    cover = fill(size, pose.place(rounded_box(0.95, half + 0.05, 0.08)))
    skin, caps = paint(rng, size, (0.1, 0.8)), random_colour(rng, value=(0.15, 0.95))
    ink = grey(0.05 if float(caps.mean()) > 110 else 0.9)
    wide, high = 0.88 / across, half / down
    for column, row in np.ndindex(across, down):
        x, y = (2 * column + 1 - across) * wide, (2 * row + 1 - down) * high
        at = pose.within(x, y, 1.0)
        shape = at.place(rounded_box(0.8 * wide, 0.8 * high, 0.25 * min(wide, high)))
        cap = fill(size, shape)
        colour = random_colour(rng) if rng.random() < 0.12 else caps
        skin = blend(scale_light(skin, 1 - 0.5 * np.roll(cap, 2, (0, 1))), colour, cap)
        skin = blend(skin, ink, printed_text(rng, size, at, 0.8 * min(wide, high), 1))
    return assemble(rng, cover, skin, rng.uniform(3, 7))


def leaf(rng: np.random.Generator, size: int) -> Canvas:
    """A leaf with a midrib, side veins and uneven green."""
    pose, half = random_pose(rng, size), rng.uniform(0.3, 0.6)
    t = np.linspace(0, 1, 40)
    belly = (
        half
        * np.sin(np.pi * t ** rng.uniform(0.6, 1.2))
        * (1 + 0.04 * np.sin(t * rng.uniform(20, 90)))
    )
    x = 1.9 * t - 0.95
    edge = np.concatenate([np.stack([x, belly], 1), np.stack([x, -belly], 1)[::-1]])
    veins = [outline([(-1, -0.02), (0.95, -0.004), (0.95, 0.004), (-1, 0.02)])]
    slant = rng.uniform(0.2, 0.45)
    for start in np.linspace(-0.75, 0.6, int(rng.integers(5, 11))):
        for side in (-1, 1):
            tip = (start + slant, side * half)
            veins.append(outline([(start, 0), (start + 0.03, 0), tip]))
    skin = random_colour(rng, (60, 130), (0.35, 0.8), (0.25, 0.7))
    lit = 1 + np.float32(0.08) * fractal(rng, random_frame(rng, size), 9, octaves=4, gain=0.7)
    lines = fill(size, *map(pose.place, veins))
    light = lit + np.float32(rng.choice([-0.3, 0.35])) * lines
    cover = fill(size, pose.place(edge.astype(np.float32)))
    return assemble(rng, cover, scale_light(skin, light), rng.uniform(2, 6))


def beans(rng: np.random.Generator, size: int) -> Canvas:
    """Loose beans in a layer, each with its own tone and crease."""
    count, colour = int(rng.integers(3, 6)), random_colour(rng, (10, 60), (0.1, 0.7), (0.3, 0.9))
    cover = np.zeros((size, size), np.float32)
    skin = np.zeros((size, size, 3), np.float32) + colour
    reach, slim = 0.5 * size / count, rng.uniform(0.5, 0.8)
    crease = outline([(-0.5, 0.0), (0.0, 0.12), (0.5, 0.0)])
    for place in np.ndindex(count, count):
        x, y = (np.array(place) + 0.5 + rng.uniform(-0.1, 0.1, 2)) * size / count
        pose = Pose(float(x), float(y), 0.85 * reach, float(rng.uniform(0, 2 * np.pi)))
        bean = fill(size, pose.place(circle(corners=28) * np.array([1, slim], np.float32)))
        skin = blend(skin, colour * np.float32(rng.uniform(0.75, 1.15)), bean)
        skin = scale_light(skin, 1 - np.float32(0.4) * fill(size, pose.place(crease)))
        cover = np.maximum(cover, bean)
    return assemble(rng, cover, skin, rng.uniform(5, 10))


def _ray(turn: float, near: float, far: float, half: float) -> ArrayF32:
    """A bar along a radius of the part, (4, 2)."""
    return Pose(0.0, 0.0, 1.0, turn).place(box(near, -half, far, half))
