"""Hardware that only the pretrain split shows: (rng, size) -> Canvas, as in `objects`."""

from __future__ import annotations

import numpy as np

from zsad.data.synthetic.assembly import assemble, metal, metal_or_paint, paint, printed_text
from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.cells import palette
from zsad.data.synthetic.colours import blend, grey, random_colour, scale_light
from zsad.data.synthetic.shapes import (
    Pose,
    box,
    circle,
    disc,
    fill,
    outline,
    radial,
    random_pose,
    regular_polygon,
    ring,
    rounded_box,
    stroke,
)
from zsad.types import ArrayF32


def bracket(rng: np.random.Generator, size: int) -> Canvas:
    """An angle of two arms with holes and a rib across the corner."""
    pose, arm = random_pose(rng, size), rng.uniform(0.3, 0.55)
    inner, reach = arm - 0.7, rng.uniform(0.3, 0.7)
    corners = [(-0.7, -0.7), (0.7, -0.7), (0.7, inner), (inner, inner), (inner, reach)]
    cover = fill(size, pose.place(outline([*corners, (-0.7, reach)])))
    middle = -0.7 + 0.5 * arm
    for place in np.arange(inner + 0.25, 0.55, rng.uniform(0.6, 1.2) * arm):
        cover = cover * (1 - disc(size, pose, float(place), middle, 0.22 * arm))
    cover = cover * (1 - disc(size, pose, middle, reach - 0.2, 0.22 * arm))
    rib = stroke(size, pose.place(outline([(-0.7, inner), (inner, -0.7)])), 4)
    skin = scale_light(metal_or_paint(rng, size), 1 + np.float32(rng.uniform(-0.3, 0.3)) * rib)
    return assemble(rng, cover, skin, rng.uniform(2, 7))


def flange(rng: np.random.Generator, size: int) -> Canvas:
    """A round or square plate with a hub, a bore and a circle of bolts."""
    pose, count = random_pose(rng, size), int(rng.integers(3, 9))
    shape = circle() if rng.random() < 0.6 else rounded_box(0.85, 0.85, 0.2)
    bore = rng.uniform(0.15, 0.3)
    cover = fill(size, pose.place(shape)) * (1 - disc(size, pose, 0, 0, bore))
    field = radial(size, pose)
    skin = scale_light(metal_or_paint(rng, size), 1 - 0.35 * ring(field, bore + 0.2, 0.03))
    for x, y in circle(0, 0, rng.uniform(0.68, 0.76), count).tolist():
        skin = blend(skin, grey(rng.uniform(0.5, 0.6)), disc(size, pose, x, y, 0.12))
        skin = blend(skin, grey(0.1), disc(size, pose, x, y, 0.06))
    return assemble(rng, cover, skin, rng.uniform(3, 7))


def key(rng: np.random.Generator, size: int) -> Canvas:
    """A bow with an eye, a grooved blade and its bitting."""
    pose, thick = random_pose(rng, size), rng.uniform(0.09, 0.14)
    bow = circle(0, 0, 0.36) if rng.random() < 0.5 else rounded_box(0.36, 0.3, 0.12)
    bow = bow - np.array([0.62, 0], np.float32)
    steps = np.linspace(0.1, 0.95, int(rng.integers(6, 12)))
    bitting = [(float(x), float(thick + rng.uniform(-0.08, 0.1))) for x in steps]
    blade = outline([(-0.4, -thick), (0.98, -thick), *bitting[::-1], (-0.4, thick)])
    cover = fill(size, pose.place(bow))
    cover = np.maximum(cover, fill(size, pose.place(blade)))
    cover = cover * (1 - disc(size, pose, -0.78, 0, rng.uniform(0.07, 0.12)))
    groove = stroke(size, pose.place(outline([(-0.3, -0.3 * thick), (0.9, -0.3 * thick)])), 3)
    text = printed_text(rng, size, pose.within(-0.5, 0.0, 0.5), 0.3, 2)
    skin = scale_light(metal(rng, size), 1 - np.float32(0.35) * np.maximum(groove, text))
    return assemble(rng, cover, skin, rng.uniform(2, 5))


def connector(rng: np.random.Generator, size: int) -> Canvas:
    """A housing with two rows of open contacts, a latch and a keying mark."""
    pose, count = random_pose(rng, size), int(rng.integers(3, 9))
    half, pitch = rng.uniform(0.35, 0.55), 1.6 / count
    latch = box(-0.2, -half - 0.14, 0.2, -half + 0.05)
    cover = fill(size, pose.place(rounded_box(0.95, half, 0.06)), pose.place(latch))
    reach = min(0.36 * pitch, 0.4 * half)
    places = [((i + 0.5) * pitch - 0.8, s * 0.48 * half) for i in range(count) for s in (-1, 1)]
    wells = [box(x - reach, y - reach, x + reach, y + reach) for x, y in places]
    tips = [
        box(x - 0.4 * reach, y - 0.5 * reach, x + 0.4 * reach, y + 0.5 * reach) for x, y in places
    ]
    skin = blend(paint(rng, size, (0.2, 0.95)), grey(0.06), fill(size, *map(pose.place, wells)))
    skin = blend(skin, metal(rng, size), fill(size, *map(pose.place, tips)))
    mark = fill(size, pose.place(regular_polygon(3) * 0.07 + np.array([-0.88, 0.0], np.float32)))
    return assemble(rng, cover, scale_light(skin, 1 - 0.5 * mark), rng.uniform(2, 6))


def spring(rng: np.random.Generator, size: int) -> Canvas:
    """A coil seen from its side: front turns over back turns, closed at both ends."""
    pose, turns = random_pose(rng, size), int(rng.integers(5, 12))
    half, thick = rng.uniform(0.25, 0.5), rng.uniform(0.25, 0.4) / turns
    step = 1.8 / turns
    starts = np.arange(turns) * step - 0.9
    front = [_bar(x, -half, x + 0.5 * step, half, thick) for x in starts]
    back = [_bar(x + 0.5 * step, half, x + step, -half, thick) for x in starts]
    ends = [_bar(x, -half, x, half, thick) for x in (-0.9, 0.9)]
    near = fill(size, *map(pose.place, front), *map(pose.place, ends))
    far = fill(size, *map(pose.place, back))
    wire = metal(rng, size)
    skin = blend(scale_light(wire, 1 - 0.55 * far), wire, near)
    return assemble(rng, np.maximum(near, far), skin, rng.uniform(2, 4))


def fuse(rng: np.random.Generator, size: int) -> Canvas:
    """A glass tube between metal caps, with its wire inside."""
    pose, half = random_pose(rng, size), rng.uniform(0.2, 0.3)
    cap = rng.uniform(0.25, 0.4)
    cover = fill(size, pose.place(rounded_box(1.0, half, 0.05)))
    caps = fill(
        size,
        *(
            pose.place(box(s * (1 - 0.5 * cap) - 0.5 * cap, -1, s * (1 - 0.5 * cap) + 0.5 * cap, 1))
            for s in (-1, 1)
        ),
    )
    x = np.linspace(cap - 1, 1 - cap, 9)
    y = rng.uniform(-0.3, 0.3) * half * np.sin(np.linspace(0, np.pi * rng.integers(1, 4), 9))
    wire = stroke(size, pose.place(np.stack([x, y], axis=1).astype(np.float32)), rng.uniform(1, 3))
    glass = blend(paint(rng, size, (0.5, 0.95)), grey(rng.uniform(0.1, 0.4)), wire)
    gleam = stroke(size, pose.place(outline([(cap - 1, -0.55 * half), (1 - cap, -0.55 * half)])), 4)
    skin = blend(scale_light(glass, 1 + 0.4 * gleam), metal(rng, size), caps)
    text = printed_text(rng, size, pose.within(cap - 1.0, 0.0, 1.0), 0.8 * half, 2)
    return assemble(rng, cover, scale_light(skin, 1 - 0.3 * text * caps), rng.uniform(5, 12))


def resistor(rng: np.random.Generator, size: int) -> Canvas:
    """A body with coloured bands between two wires."""
    pose, half = random_pose(rng, size), rng.uniform(0.18, 0.28)
    body = fill(size, pose.place(rounded_box(0.6, half, 0.15)))
    cover = np.maximum(body, fill(size, pose.place(box(-1, -0.035, 1, 0.035))))
    skin = blend(metal(rng, size), paint(rng, size, (0.4, 0.9)), body)
    for x in np.linspace(-0.4, 0.4, int(rng.integers(3, 6))) + rng.uniform(-0.03, 0.03):
        band = fill(size, pose.place(box(x - 0.045, -1, x + 0.045, 1))) * body
        skin = blend(skin, random_colour(rng, value=(0.05, 0.95)), band)
    return assemble(rng, cover, skin, rng.uniform(5, 12))


def chain(rng: np.random.Generator, size: int) -> Canvas:
    """Links in a row, every other one seen from its edge."""
    pose, count = random_pose(rng, size), int(rng.integers(3, 6))
    pitch, high = 2 / (count + 0.2), rng.uniform(0.18, 0.3)
    thick = rng.uniform(0.3, 0.45) * high
    near = far = np.zeros((size, size), np.float32)
    for x in (np.arange(count) - 0.5 * (count - 1)) * pitch:
        at = pose.within(float(x), 0.0, 1.0)
        link = fill(size, at.place(rounded_box(0.42 * pitch, high, 0.9 * min(0.42 * pitch, high))))
        eye = rounded_box(0.42 * pitch - thick, high - thick, 0.5 * (high - thick))
        far = np.maximum(far, link * (1 - fill(size, at.place(eye))))
        edge = box(0.18 * pitch, -0.5 * thick, 0.82 * pitch, 0.5 * thick)
        near = np.maximum(near, fill(size, at.place(edge)))
    wire = metal(rng, size)
    skin = blend(scale_light(wire, 1 - np.float32(0.25) * far), wire, near)
    return assemble(rng, np.maximum(near, far), skin, rng.uniform(2, 5))


def heat_sink(rng: np.random.Generator, size: int) -> Canvas:
    """A block of parallel fins, at times cut across into pins."""
    pose, half = random_pose(rng, size), rng.uniform(0.5, 0.9)
    cover = fill(size, pose.place(rounded_box(0.95, half, 0.03)))
    rows = np.linspace(-half, half, int(rng.integers(6, 15)), endpoint=False)
    pitch = float(rows[1] - rows[0])
    slots = [box(-0.9, y + 0.3 * pitch, 0.9, y + 0.75 * pitch) for y in rows]
    if rng.random() < 0.4:
        slots += [box(x - 0.03, -half, x + 0.03, half) for x in np.linspace(-0.7, 0.7, 6)]
    gap = fill(size, *map(pose.place, slots))
    lit = np.roll(gap, int(rng.choice([-2, 2])), 0) * (1 - gap)
    light = 1 - np.float32(rng.uniform(0.5, 0.85)) * gap + np.float32(0.25) * lit
    skin = scale_light(metal_or_paint(rng, size), light)
    return assemble(rng, cover, skin, 3)


def machined_part(rng: np.random.Generator, size: int) -> Canvas:
    """A random polygon with random cut-outs, reliefs and prints: never the same twice."""
    pose = random_pose(rng, size)
    corners = int(rng.integers(4, 13))
    turn = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners
    reach = rng.uniform(rng.uniform(0.5, 0.9), 1.0, corners)
    body = np.stack([reach * np.cos(turn), reach * np.sin(turn)], axis=1).astype(np.float32)
    cover = fill(size, pose.place(body))
    for _ in range(int(rng.integers(0, 5))):
        cover = cover * (1 - fill(size, pose.place(_figure(rng, 0.06, 0.2))))
    skin = metal_or_paint(rng, size)
    for colour in palette(rng, int(rng.integers(0, 4)) + 1):
        mark = fill(size, pose.place(_figure(rng, 0.08, 0.35)))
        if rng.random() < 0.5:
            skin = blend(skin, colour, mark)
        else:
            edge = np.roll(mark, 3, (0, 1)) - mark
            skin = scale_light(skin, 1 + np.float32(rng.uniform(-0.4, 0.4)) * edge)
    if rng.random() < 0.5:
        text = printed_text(rng, size, pose, rng.uniform(0.1, 0.25), int(rng.integers(2, 7)))
        skin = scale_light(skin, 1 - np.float32(rng.uniform(0.2, 0.6)) * text)
    return assemble(rng, cover, skin, rng.uniform(2, 9))


def screws(rng: np.random.Generator, size: int) -> Canvas:
    """Several screws lying side by side, each turned its own way."""
    cover = np.zeros((size, size), np.float32)
    relief = np.zeros_like(cover)
    count = int(rng.integers(2, 4))
    for place in np.ndindex(count, count):
        middle = (np.array(place) + 0.5 + rng.uniform(-0.08, 0.08, 2)) * size / count
        turn = float(rng.uniform(0, 2 * np.pi))
        pose = Pose(float(middle[0]), float(middle[1]), 0.42 * size / count, turn)
        head, shaft = box(-0.95, -0.42, -0.6, 0.42), box(-0.65, -0.18, 0.8, 0.18)
        tip = outline([(0.78, -0.18), (1.0, 0.0), (0.78, 0.18)])
        cover = np.maximum(cover, fill(size, *map(pose.place, (head, shaft, tip))))
        lines = [_bar(x, -0.2, x + 0.06, 0.2, 0.03) for x in np.arange(-0.4, 0.8, 0.16)]
        relief = np.maximum(relief, fill(size, *map(pose.place, lines)))
    skin = scale_light(metal(rng, size), 1 - np.float32(rng.uniform(0.3, 0.6)) * relief)
    return assemble(rng, cover, skin, rng.uniform(2, 4))


def _bar(x0: float, y0: float, x1: float, y1: float, half: float) -> ArrayF32:
    """A straight bar from point to point, (4, 2)."""
    along = np.array([x1 - x0, y1 - y0])
    side = np.array([-along[1], along[0]]) * half / max(float(np.hypot(*along)), 1e-6)
    start, end = np.array([x0, y0]), np.array([x1, y1])
    return np.stack([start + side, end + side, end - side, start - side]).astype(np.float32)


def _figure(rng: np.random.Generator, low: float, high: float) -> ArrayF32:
    """A disc, polygon or box somewhere on a part."""
    reach, turn = rng.uniform(low, high), rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.5:
        shape = circle(0, 0, reach, int(rng.choice([3, 4, 5, 6, 24, 24])))
    else:
        shape = rounded_box(reach, reach * rng.uniform(0.2, 0.8), 0.1 * reach)
    centre = rng.uniform(-0.55, 0.55, 2)
    return Pose(float(centre[0]), float(centre[1]), 1.0, float(turn)).place(shape)
