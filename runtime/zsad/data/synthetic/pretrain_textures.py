"""Surfaces with an order of their own that only the pretrain split shows.

They differ from the train split's in structure: courses, bands, lattices, lines of text and
repeated motifs. As there, (rng, frame) -> (S, S, 3) float32 BGR in about [0, 255].
"""

from __future__ import annotations

import cv2
import numpy as np

from zsad.data.synthetic.cells import grid_tones, palette
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
from zsad.data.synthetic.shapes import circle, fill, stroke
from zsad.types import ArrayF32

_STRIP = 512
_TILE = 64


def brick_wall(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Courses of bricks, each with its own tone, in mortar."""
    courses, squat = rng.uniform(4, 10), rng.uniform(0.3, 0.55)
    v = frame.v * np.float32(courses)
    u = frame.u * np.float32(courses * squat) + np.float32(0.5) * (np.floor(v) % 2)
    edge = np.minimum(distance_to_integer(u) / np.float32(squat), distance_to_integer(v))
    edge = edge + np.float32(0.02) * value_noise(rng, frame, 30, 30)
    clay = random_colour(rng, (0, 40), (0.1, 0.65), (0.35, 0.85))
    tone = np.float32(rng.uniform(0.04, 0.2)) * grid_tones(rng, u, v)
    bricks = scale_light(clay, 1 + tone + np.float32(0.07) * fractal(rng, frame, 25))
    mortar = scale_light(grey(rng.uniform(0.3, 0.85)), 1 + 0.04 * pixel_noise(rng, frame.size))
    return blend(mortar, bricks, smoothstep(edge, 0.04, 0.09))


def plaid_cloth(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Crossing coloured bands in a repeat."""
    repeat = np.float32(rng.uniform(1.2, 4))
    cloth = blend(random_colour(rng), random_colour(rng), np.zeros_like(frame.u))
    for _ in range(int(rng.integers(4, 9))):
        across = (frame.u if rng.random() < 0.5 else frame.v) * repeat + np.float32(rng.random())
        half = rng.uniform(0.015, 0.2)
        band = 1 - smoothstep(distance_to_integer(across), half, half + 0.012)
        cloth = blend(cloth, random_colour(rng, value=(0.1, 0.95)), band * np.float32(0.55))
    nap = fractal(rng, frame, 45, octaves=2, gain=0.8)
    return scale_light(cloth, 1 + np.float32(rng.uniform(0.02, 0.07)) * nap)


def corrugated_sheet(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Broad waves of sheet metal, at times with a row of screws on their crests."""
    count = rng.uniform(4, 12)
    phase = frame.v * np.float32(count)
    light = 0.62 + np.float32(rng.uniform(0.2, 0.4)) * wave(phase)
    light += np.float32(rng.uniform(0, 0.25)) * wave(phase + np.float32(0.2)) ** 6
    sheet = scale_light(
        random_colour(rng, saturation=(0, 0.4), value=(0.45, 0.95)),
        light * (1 + np.float32(0.03) * fractal(rng, frame, 4, 40, 2)),
    )
    if rng.random() < 0.5:
        spacing = rng.uniform(1.0, 2.0)
        du = distance_to_integer(frame.u * np.float32(spacing)) * np.float32(count / spacing)
        distance = np.hypot(du, distance_to_integer(phase - np.float32(0.25)))
        sheet = blend(sheet, grey(rng.uniform(0.15, 0.6)), 1 - smoothstep(distance, 0.2, 0.24))
        sheet = blend(sheet, grey(rng.uniform(0.6, 0.95)), 1 - smoothstep(distance, 0.1, 0.14))
    return sheet


def perforated_sheet(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """A sheet with punched round holes or slots, in rows or staggered."""
    count, slot = np.float32(rng.uniform(5, 14)), np.float32(rng.choice([1.0, 1.0, 0.4]))
    v = frame.v * count
    shift = np.float32(rng.choice([0.0, 0.5])) * (np.floor(v) % 2)
    du = (frame.u * count * slot + shift) % 1 - np.float32(0.5)
    dv = v % 1 - np.float32(0.5)
    run = np.maximum(np.abs(du / slot) - np.float32(0.3) * (1 / slot - 1), 0)
    distance, radius = np.hypot(run, dv), rng.uniform(0.2, 0.36)
    rim = np.exp(-(((distance - np.float32(radius + 0.05)) / np.float32(0.05)) ** 2))
    turn = rng.uniform(0, 2 * np.pi)
    side = du * np.float32(np.cos(turn)) + dv * np.float32(np.sin(turn))
    light = 1 + rim * side + np.float32(0.03) * fractal(rng, frame, 4, 60, 2)
    plate = scale_light(random_colour(rng, saturation=(0, 0.5), value=(0.4, 0.95)), light)
    floor = random_colour(rng, saturation=(0, 0.3), value=(0.03, 0.3))
    return blend(plate, floor, 1 - smoothstep(distance, radius - 0.04, radius + 0.03))


def printed_paper(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Paper with lines of small print, paragraphs and a rule."""
    lines = rng.uniform(8, 18)
    v, u = frame.v * np.float32(lines), frame.u * np.float32(lines * rng.uniform(1.3, 1.9))
    letter = (u * 4 % 4 < 3) & (grid_tones(rng, u * 4, v * 8) > np.float32(-0.15))
    line = (v % 1 > 0.2) & (v % 1 < 0.75)
    words = (grid_tones(rng, u, v) > np.float32(-0.65)) & (grid_tones(rng, u * 0, v) > -0.8)
    ink = (letter & line & words).astype(np.float32)
    if rng.random() < 0.5:
        ink = np.maximum(ink, 1 - smoothstep(distance_to_integer(v / 6), 0.008, 0.012))
    paper = random_colour(rng, saturation=(0, 0.15), value=(0.7, 0.97))
    sheet = scale_light(paper, 1 + np.float32(0.015) * fractal(rng, frame, 30))
    soft = np.asarray(cv2.GaussianBlur(ink, (0, 0), 0.6 * frame.size / 224), np.float32)
    return blend(sheet, random_colour(rng, value=(0.03, 0.4)), soft * np.float32(0.85))


def ribbed_plastic(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Moulded flat-topped ribs in groups, with lit and shaded flanks."""
    phase = frame.u * np.float32(rng.uniform(8, 24))
    slope = np.float32(rng.uniform(1.2, 3.5))
    top = np.clip(slope * (2 * wave(phase) - 1), -1, 1)
    flank = (1 - np.abs(top)) * np.where(phase % 1 < 0.5, 1, -1) * np.sign(wave(phase) - 0.5)
    group = float(rng.integers(3, 9))
    present = (phase % np.float32(group) >= 1).astype(np.float32)
    relief = np.float32(rng.uniform(0.05, 0.2)) * top + np.float32(rng.uniform(0.1, 0.3)) * flank
    grain = np.float32(0.02) * fractal(rng, frame, 50, octaves=2)
    plastic = random_colour(rng, saturation=(0, 0.7), value=(0.15, 0.85))
    return scale_light(plastic, (0.9 + grain + relief * present).astype(np.float32))


def herringbone_parquet(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Wooden blocks laid at right angles in a zigzag."""
    count, length = np.float32(rng.uniform(6, 14)), float(rng.integers(2, 6))
    u, v = frame.u * count, frame.v * count
    column, row = np.floor(u), np.floor(v)
    step = (column - row) % (2 * length)
    lies = step < length
    along = np.where(lies, step + u % 1, 2 * length - 1 - step + v % 1)
    across = np.where(lies, v % 1, u % 1)
    edge = np.minimum(np.minimum(along, length - along), np.minimum(across, 1 - across))
    first = np.where(lies, column - step, row - (2 * length - 1 - step))
    tone = grid_tones(rng, first + np.where(lies, 0, 41), np.where(lies, row, column))
    grain = np.where(lies, fractal(rng, frame, 6, 70, 2), fractal(rng, frame, 70, 6, 2))
    block = hsv(rng.uniform(14, 38), rng.uniform(0.2, 0.65), rng.uniform(0.4, 0.85))
    light = 1 + np.float32(rng.uniform(0.05, 0.18)) * tone + np.float32(0.05) * grain
    gap = 1 - smoothstep(edge.astype(np.float32), 0.02, 0.06)
    return scale_light(block, light * (1 - np.float32(rng.uniform(0.3, 0.7)) * gap))


def mosaic(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Small glass squares in several colours with pale joints."""
    count = np.float32(rng.uniform(6, 14))
    u, v = frame.u * count, frame.v * count
    colours = palette(rng, int(rng.integers(3, 7)))
    tone = grid_tones(rng, u, v)
    pick = ((tone * np.float32(0.4999) + np.float32(0.5)) * len(colours)).astype(np.int32)
    edge = np.minimum(distance_to_integer(u), distance_to_integer(v))
    shade = 1 + np.float32(0.08) * grid_tones(rng, u, v) + 0.04 * fractal(rng, frame, 5, octaves=2)
    width = rng.uniform(0.03, 0.08)
    joint = 1 - smoothstep(edge, width, width + 0.04)
    return blend(scale_light(colours[pick], shade), grey(rng.uniform(0.55, 0.95)), joint)


def striped_sheet(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Straight or wavy bands of random widths and colours."""
    count = int(rng.integers(4, 14))
    colours = palette(rng, int(rng.integers(2, 6)))
    ends = np.sort(rng.integers(1, _STRIP, count - 1))
    order = np.searchsorted(ends, np.arange(_STRIP), side="right")
    strip = colours[rng.integers(len(colours), size=count)][order]
    wobble = np.float32(rng.choice([0.0, 0.02, 0.08])) * fractal(rng, frame, 2, octaves=2)
    sheet = _looked_up(strip, frame.v * np.float32(rng.uniform(0.8, 3)) + wobble)
    return scale_light(sheet, 1 + np.float32(0.03) * fractal(rng, frame, 30, octaves=2))


def patterned_surface(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Bent noise of a random spectrum, direction, profile and palette: never the same twice."""
    bend = np.float32(rng.choice([0.0, 0.05, 0.2])) * fractal(rng, frame, rng.uniform(1, 4))
    bent = Frame(frame.u + bend, frame.v - bend)
    cells, stretch = np.exp(rng.uniform(0.7, 3.4)), np.exp(rng.uniform(0, 2))
    octaves, gain = int(rng.integers(1, 5)), rng.uniform(0.3, 0.9)
    field = fractal(rng, bent, cells, cells * stretch, octaves, gain)
    profile = int(rng.integers(5))
    if profile == 0:
        field = np.abs(field)
    elif profile == 1:
        field = wave(bent.u * np.float32(rng.uniform(4, 20)) + np.float32(0.5) * field)
    elif profile == 2:
        pitch = np.float32(rng.uniform(4, 16))
        field = wave(bent.u * pitch) * wave(bent.v * pitch) + np.float32(0.3) * field
    elif profile == 3:
        field = np.round(field * np.float32(rng.uniform(1, 3)))
    colours = palette(rng, int(rng.integers(2, 5)))
    ramp = np.interp(np.arange(_STRIP), np.linspace(0, _STRIP, len(colours)), range(len(colours)))
    low = np.minimum(ramp.astype(np.int32), len(colours) - 2)
    strip = colours[low] + (colours[low + 1] - colours[low]) * (ramp - low)[:, None]
    span = np.float32(0.8 / max(float(np.ptp(field)), 1e-3))
    picture = _looked_up(strip.astype(np.float32), (field - field.min()) * span + 0.1)
    return scale_light(picture, 1 + np.float32(rng.uniform(0, 0.06)) * fractal(rng, frame, 40))


def wallpaper(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """A random motif of shapes and lines, repeated."""
    colours = palette(rng, 4)
    tile = np.zeros((_TILE, _TILE, 3), np.float32) + colours[0]
    for colour in colours[1:]:
        x, y = rng.uniform(0.25, 0.75, 2) * _TILE
        figure = circle(x, y, rng.uniform(0.08, 0.22) * _TILE, int(rng.choice([3, 4, 5, 6, 24])))
        cover = fill(_TILE, figure)
        if rng.random() < 0.5:
            ends = rng.uniform(0.05, 0.95, (int(rng.integers(2, 5)), 2)) * _TILE
            cover = stroke(_TILE, ends.astype(np.float32), rng.uniform(2, 6))
        tile = blend(tile, colour, cover)
    count = np.float32(rng.uniform(2.5, 8))
    shift = np.float32(rng.choice([0.0, 0.5])) * np.floor(frame.u * count)
    u, v = frame.u * count % 1 * _TILE, (frame.v * count + shift) % 1 * _TILE
    paper = cv2.remap(tile, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    grain = np.float32(rng.uniform(0.01, 0.04)) * fractal(rng, frame, 35, octaves=2)
    return scale_light(np.asarray(paper, np.float32), 1 + grain)


def _looked_up(strip: ArrayF32, place: ArrayF32) -> ArrayF32:
    """Colours (n, 3) of a cyclic strip at fractions of its length, (S, S) -> (S, S, 3)."""
    at = np.asarray(place % 1 * len(strip), np.float32)
    rows = np.repeat(strip[None], 2, axis=0)
    looked = cv2.remap(rows, at, at * 0, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(looked, np.float32)
