"""Surfaces of grains, cells and pores that only the pretrain split shows.

As in `textures`: (rng, frame) -> (S, S, 3) float32 BGR in about [0, 255].
"""

from __future__ import annotations

import cv2
import numpy as np

from zsad.data.synthetic.cells import Cells, palette, scatter
from zsad.data.synthetic.colours import blend, grey, hsv, random_colour, scale_light
from zsad.data.synthetic.noise import Frame, fractal, pixel_noise, smoothstep, value_noise
from zsad.data.synthetic.shapes import circle, fill
from zsad.types import ArrayF32


def gravel(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Rounded stones of several colours, lit from one side."""
    cells = scatter(rng, frame.size, rng.uniform(10, 24))
    stones = cells.of_each(palette(rng, 23))
    light = 0.85 + 0.3 * _lit_side(rng, cells) + 0.06 * fractal(rng, frame, 30, octaves=2)
    gap = smoothstep(cells.depth, 0, rng.uniform(2, 4) * frame.size / 224)
    return scale_light(stones, light * (0.3 + 0.7 * gap))


def hammered_metal(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Overlapping shallow dimples."""
    cells = scatter(rng, frame.size, rng.uniform(7, 18))
    side = cv2.GaussianBlur(_lit_side(rng, cells), (0, 0), 1.2 * frame.size / 224)
    light = 1 + np.float32(rng.uniform(0.15, 0.4)) * np.asarray(side, np.float32)
    light += 0.05 * fractal(rng, frame, 2, octaves=2) + 0.015 * pixel_noise(rng, frame.size)
    return scale_light(random_colour(rng, (15, 60), (0, 0.5), (0.4, 0.85)), light)


def stone_wall(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Large rough stones in wide joints."""
    cells = scatter(rng, frame.size, rng.uniform(3, 7))
    stones = cells.of_each(palette(rng, 11) * np.float32(0.5) + grey(rng.uniform(0.2, 0.4)))
    rough = fractal(rng, frame, 6, octaves=4, gain=0.6)
    lit = scale_light(stones, 1 + 0.1 * rough + 0.12 * _lit_side(rng, cells))
    width = rng.uniform(2, 6) * frame.size / 224
    ragged = cells.depth + np.float32(0.25 * width) * value_noise(rng, frame, 40, 40)
    mortar = scale_light(grey(rng.uniform(0.25, 0.8)), 1 + 0.05 * pixel_noise(rng, frame.size))
    return blend(mortar, lit, smoothstep(ragged, 0.5 * width, width))


def sponge(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Foam with open pores of very different sizes."""
    size, count = frame.size, int(rng.integers(120, 320))
    at = rng.uniform(0, 1, (count, 2))
    radii = np.exp(rng.uniform(np.log(0.006), np.log(rng.uniform(0.02, 0.045)), count))
    ovals = [
        circle(0, 0, radius, 16) * rng.uniform(0.75, 1.25, 2) + centre
        for centre, radius in zip(at, radii, strict=True)
    ]
    pores = fill(size, *(oval.astype(np.float32) * size for oval in ovals))
    lip = np.roll(pores, tuple(rng.integers(-2, 3, 2)), (0, 1)) * (1 - pores)
    foam = random_colour(rng, saturation=(0.05, 0.75), value=(0.45, 0.95))
    light = 1 + 0.06 * fractal(rng, frame, 14, octaves=3) + np.float32(0.15) * lip
    return scale_light(foam, light * (1 - np.float32(rng.uniform(0.3, 0.6)) * pores))


def sandpaper(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Dense sharp grit with some coarser grains."""
    fine = cv2.GaussianBlur(pixel_noise(rng, frame.size), (0, 0), rng.uniform(0.5, 1.3))
    fine = np.asarray(fine / max(float(fine.std()), 1e-3), np.float32)
    coarse = smoothstep(value_noise(rng, frame, 70, 70), 1.0, 1.3)
    light = 1 + np.float32(rng.uniform(0.06, 0.2)) * fine + np.float32(rng.uniform(0, 0.4)) * coarse
    light += np.float32(0.05) * fractal(rng, frame, 3, octaves=2)
    return scale_light(random_colour(rng, (0, 60), (0.05, 0.7), (0.2, 0.75)), light)


def chipboard(rng: np.random.Generator, frame: Frame) -> ArrayF32:
    """Pressed flakes of wood lying across each other."""
    size, count = frame.size, int(rng.integers(150, 400))
    hue, value = rng.uniform(20, 38), rng.uniform(0.5, 0.85)
    board = np.zeros((size, size, 3), np.uint8) + hsv(hue, 0.5, 0.6 * value).astype(np.uint8)
    half = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * np.array([1.0, rng.uniform(0.15, 0.5)])
    for x, y in rng.uniform(0, size, (count, 2)):
        turn, reach = rng.uniform(0, np.pi), rng.uniform(0.02, 0.08) * size
        cos, sin = np.cos(turn) * reach, np.sin(turn) * reach
        corners = half * rng.uniform(0.7, 1.2, (4, 1)) @ np.array([[cos, sin], [-sin, cos]])
        flake = hsv(hue + rng.normal(0, 3), rng.uniform(0.25, 0.6), value * rng.uniform(0.7, 1.15))
        placed = np.round((corners + np.array([x, y])) * 16).astype(np.int32)
        cv2.fillPoly(board, [placed], flake.tolist(), cv2.LINE_AA, 4)
    grain = np.float32(0.04) * fractal(rng, frame, 40, octaves=2)
    return scale_light(board.astype(np.float32), 1 + grain)


def _lit_side(rng: np.random.Generator, cells: Cells) -> ArrayF32:
    """How far each pixel lies towards the light within its cell, about [-1, 1]."""
    turn = rng.uniform(0, 2 * np.pi)
    toward = cells.dx * np.float32(np.cos(turn)) + cells.dy * np.float32(np.sin(turn))
    return np.asarray(np.clip(toward, -1.2, 1.2), np.float32)
