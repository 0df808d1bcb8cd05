"""Parts on a background: (rng, size) -> Canvas.

Each varies in pose, proportions, material and in normal details such as drilled holes, prints,
seams and highlights.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zsad.data.synthetic.assembly import assemble, metal, metal_or_paint, paint, printed_text
from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.colours import blend, grey, hsv, random_colour, scale_light
from zsad.data.synthetic.shapes import (
    circle,
    disc,
    fill,
    gear_outline,
    outline,
    radial,
    random_pose,
    regular_polygon,
    ring,
    rounded_box,
    stroke,
)

PartClass = Callable[[np.random.Generator, int], Canvas]


def metal_plate(rng: np.random.Generator, size: int) -> Canvas:
    """A plate with drilled holes at its corners, at times engraved."""
    pose = random_pose(rng, size)
    half = rng.uniform(0.5, 0.85)
    cover = fill(size, pose.place(rounded_box(1.0, half, rng.uniform(0.05, 0.3))))
    x, y, radius = 0.8, half - 0.2, rng.uniform(0.06, 0.12)
    for sx, sy in ((1, 1), (-1, -1), (1, -1), (-1, 1))[: rng.choice([0, 2, 4])]:
        cover = cover * (1 - disc(size, pose, sx * x, sy * y, radius))
    skin = metal(rng, size)
    if rng.random() < 0.5:
        mark = printed_text(rng, size, pose, rng.uniform(0.12, 0.25), int(rng.integers(3, 7)))
        skin = scale_light(skin, 1 - np.float32(rng.uniform(0.2, 0.5)) * mark)
    return assemble(rng, cover, skin)


def washer(rng: np.random.Generator, size: int) -> Canvas:
    """A flat ring with turning marks."""
    pose = random_pose(rng, size)
    inner = rng.uniform(0.35, 0.65)
    cover = disc(size, pose, 0, 0, 1) * (1 - disc(size, pose, 0, 0, inner))
    turning = np.sin(radial(size, pose) * np.float32(rng.uniform(40, 160)))
    skin = scale_light(metal_or_paint(rng, size), 1 + np.float32(rng.uniform(0, 0.05)) * turning)
    return assemble(rng, cover, skin, rng.uniform(2, 8))


def button(rng: np.random.Generator, size: int) -> Canvas:
    """A sewing button with two or four holes and a raised rim."""
    pose = random_pose(rng, size)
    cover = disc(size, pose, 0, 0, 1)
    count, spread = int(rng.choice([2, 4])), rng.uniform(0.2, 0.3)
    for turn in np.arange(count) * 2 * np.pi / count:
        x, y = spread * np.cos(turn), spread * np.sin(turn)
        cover = cover * (1 - disc(size, pose, float(x), float(y), 0.1))
    rim = ring(radial(size, pose), rng.uniform(0.65, 0.85), 0.05)
    skin = scale_light(paint(rng, size), 1 + np.float32(rng.uniform(-0.4, 0.4)) * rim)
    return assemble(rng, cover, skin, rng.uniform(4, 12))


def pill(rng: np.random.Generator, size: int) -> Canvas:
    """A pressed tablet, round or oblong, with a score line or an imprint."""
    pose = random_pose(rng, size)
    half = rng.uniform(0.45, 1.0)
    cover = fill(size, pose.place(rounded_box(1.0, half, min(half, 0.98))))
    skin = paint(rng, size, (0.6, 0.97))
    if rng.random() < 0.5:
        line = stroke(size, pose.place(outline([(0, -0.8 * half), (0, 0.8 * half)])), 3)
        skin = scale_light(skin, 1 - np.float32(0.25) * line)
    else:
        mark = printed_text(rng, size, pose, 0.35 * half, int(rng.integers(2, 4)))
        skin = scale_light(skin, 1 - np.float32(0.2) * mark)
    return assemble(rng, cover, skin, rng.uniform(10, 25))


def gasket(rng: np.random.Generator, size: int) -> Canvas:
    """A flat sealing frame with bolt holes."""
    pose = random_pose(rng, size)
    half, wall = rng.uniform(0.6, 0.95), rng.uniform(0.25, 0.4)
    cover = fill(size, pose.place(rounded_box(1.0, half, 0.25)))
    cover = cover * (1 - fill(size, pose.place(rounded_box(1 - wall, half - wall, 0.12))))
    for sx, sy in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
        x, y = sx * (1 - 0.5 * wall), sy * (half - 0.5 * wall)
        cover = cover * (1 - disc(size, pose, x, y, 0.25 * wall))
    return assemble(rng, cover, paint(rng, size, (0.12, 0.6)), rng.uniform(2, 6))


def circuit_board(rng: np.random.Generator, size: int) -> Canvas:
    """A board with traces, pads and a few chips."""
    pose = random_pose(rng, size)
    half = rng.uniform(0.6, 0.95)
    cover = fill(size, pose.place(rounded_box(1.0, half, 0.06)))
    board = hsv(rng.choice([120, 150, 210, 0]), rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.45))
    skin = blend(board, board, np.zeros((size, size), np.float32))
    grid_x = np.linspace(-0.85, 0.85, 9)
    traces = np.zeros((size, size), np.float32)
    for _ in range(rng.integers(3, 7)):
        x = rng.choice(grid_x, 3)
        y = rng.uniform(-0.85, 0.85, 2) * half
        path = outline([(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[2], y[1])])
        traces = np.maximum(traces, stroke(size, pose.place(path), 2))
    skin = blend(skin, board * np.float32(1.5), traces)
    pads = [pose.place(circle(x, y * half, 0.035, 12)) for x in grid_x for y in (-0.85, 0.85)]
    skin = blend(skin, hsv(45, 0.4, 0.85), fill(size, *pads))
    for _ in range(rng.integers(1, 4)):
        shift = rng.uniform(-0.5, 0.5, 2) * np.array([1, half])
        chip = rounded_box(rng.uniform(0.12, 0.3), rng.uniform(0.1, 0.2), 0.02)
        skin = blend(skin, grey(rng.uniform(0.08, 0.3)), fill(size, pose.place(chip + shift)))
    return assemble(rng, cover, skin, 3)


def hex_nut(rng: np.random.Generator, size: int) -> Canvas:
    """A hexagonal nut with a threaded bore."""
    pose = random_pose(rng, size)
    bore = rng.uniform(0.42, 0.58)
    cover = fill(size, pose.place(regular_polygon(6))) * (1 - disc(size, pose, 0, 0, bore))
    field = radial(size, pose)
    skin = scale_light(metal(rng, size), 1 - 0.35 * ring(field, bore + 0.06, 0.06))
    skin = scale_light(skin, 1 + 0.2 * ring(field, 0.84, 0.03))
    return assemble(rng, cover, skin, rng.uniform(4, 9))


def bottle_cap(rng: np.random.Generator, size: int) -> Canvas:
    """A round cap with a ribbed rim and a printed top."""
    pose = random_pose(rng, size)
    ribs = int(rng.integers(18, 40))
    cover = fill(size, pose.place(gear_outline(ribs, rng.uniform(0.03, 0.08))))
    field = radial(size, pose)
    skin = scale_light(paint(rng, size), 1 - 0.3 * ring(field, rng.uniform(0.75, 0.85), 0.04))
    mark = printed_text(rng, size, pose, rng.uniform(0.2, 0.35), int(rng.integers(2, 5)))
    skin = blend(skin, random_colour(rng), mark * np.float32(rng.uniform(0.4, 1.0)))
    return assemble(rng, cover, skin, rng.uniform(3, 8))


def gear(rng: np.random.Generator, size: int) -> Canvas:
    """A toothed wheel with a bore, at times with round windows."""
    pose = random_pose(rng, size)
    cover = fill(size, pose.place(gear_outline(int(rng.integers(10, 26)), rng.uniform(0.12, 0.22))))
    cover = cover * (1 - disc(size, pose, 0, 0, rng.uniform(0.12, 0.25)))
    if rng.random() < 0.5:
        count = int(rng.integers(3, 7))
        for turn in np.arange(count) * 2 * np.pi / count:
            x, y = 0.5 * np.cos(turn), 0.5 * np.sin(turn)
            cover = cover * (1 - disc(size, pose, float(x), float(y), 0.11))
    skin = scale_light(metal_or_paint(rng, size), 1 - 0.25 * ring(radial(size, pose), 0.72, 0.02))
    return assemble(rng, cover, skin, rng.uniform(3, 7))


def capsule(rng: np.random.Generator, size: int) -> Canvas:
    """A two-coloured capsule with a highlight and an imprint."""
    pose = random_pose(rng, size)
    half = rng.uniform(0.32, 0.48)
    body = rounded_box(1.0, half, half - 0.01)
    cover = fill(size, pose.place(body))
    cap = fill(size, pose.place(outline([(0, -1), (1.1, -1), (1.1, 1), (0, 1)])))
    skin = blend(paint(rng, size, (0.5, 0.95)), paint(rng, size), cap)
    gleam = stroke(size, pose.place(outline([(-0.7, -0.5 * half), (0.7, -0.5 * half)])), 5)
    skin = scale_light(skin, 1 + np.float32(rng.uniform(0.05, 0.4)) * gleam)
    mark = printed_text(rng, size, pose, 0.5 * half, int(rng.integers(2, 6)), 0.2 * half)
    skin = blend(skin, random_colour(rng, value=(0.1, 0.9)), mark * np.float32(0.7))
    return assemble(rng, cover, skin, rng.uniform(10, 20))


def chip_package(rng: np.random.Generator, size: int) -> Canvas:
    """A dark package with rows of pins, a dot and a printed code."""
    pose = random_pose(rng, size)
    half, pins = rng.uniform(0.45, 0.75), int(rng.integers(5, 11))
    body = fill(size, pose.place(rounded_box(0.9, half - 0.16, 0.04)))
    legs = []
    for x in np.linspace(-0.78, 0.78, pins):
        wide = 0.5 / pins
        legs.append(
            outline([(x - wide, -half), (x + wide, -half), (x + wide, half), (x - wide, half)])
        )
    pads = fill(size, *(pose.place(leg) for leg in legs))
    skin = blend(metal(rng, size), paint(rng, size, (0.1, 0.4)), body)
    ink = printed_text(rng, size, pose, rng.uniform(0.12, 0.2), int(rng.integers(4, 8)))
    ink = np.maximum(ink, disc(size, pose, -0.72, half - 0.32, 0.06))
    skin = blend(skin, grey(rng.uniform(0.5, 0.95)), ink * body)
    return assemble(rng, np.maximum(body, pads), skin, 3)


def ball_bearing(rng: np.random.Generator, size: int) -> Canvas:
    """Two races with balls between them."""
    pose = random_pose(rng, size)
    cover = disc(size, pose, 0, 0, 1) * (1 - disc(size, pose, 0, 0, rng.uniform(0.3, 0.4)))
    field = radial(size, pose)
    skin = scale_light(metal(rng, size), 1 - 0.6 * ring(field, 0.68, 0.09))
    count = int(rng.integers(7, 13))
    for turn in np.arange(count) * 2 * np.pi / count:
        x, y = float(0.68 * np.cos(turn)), float(0.68 * np.sin(turn))
        skin = blend(skin, grey(0.7), disc(size, pose, x, y, 0.1))
        skin = blend(skin, grey(0.95), disc(size, pose, x - 0.03, y - 0.03, 0.03))
    return assemble(rng, cover, skin, rng.uniform(2, 5))
