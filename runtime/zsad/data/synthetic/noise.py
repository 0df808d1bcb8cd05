"""Smooth random fields on rotated, scaled surface coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from zsad.types import ArrayF32

_TABLE_SIDE = 512
_TAU = np.float32(2 * np.pi)


@lru_cache(maxsize=1)
def _noise_table() -> ArrayF32:
    # One constant table, read at random offsets: drawing fresh lattices took most of the time.
    table = np.random.default_rng(20240229).standard_normal(
        (_TABLE_SIDE, _TABLE_SIDE), dtype=np.float32
    )
    table.setflags(write=False)
    return table


@lru_cache(maxsize=4)
def pixel_grid(size: int) -> tuple[ArrayF32, ArrayF32]:
    """Pixel centres as fractions of the image side: x and y, each (size, size) in (0, 1)."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(axis, axis)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


@dataclass(frozen=True)
class Frame:
    """Surface coordinates of every pixel.

    Attributes:
        u: (S, S) float32, along the surface's main direction, in image sides.
        v: (S, S) float32, across it.
    """

    u: ArrayF32
    v: ArrayF32

    @property
    def size(self) -> int:
        """Image side in pixels."""
        return int(self.u.shape[0])


def random_frame(
    rng: np.random.Generator, size: int, zoom: tuple[float, float] = (0.7, 1.6)
) -> Frame:
    """A surface seen at a random rotation, scale and position."""
    x, y = pixel_grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    scale = 1 / np.exp(rng.uniform(np.log(zoom[0]), np.log(zoom[1])))
    cos, sin = np.float32(np.cos(angle) * scale), np.float32(np.sin(angle) * scale)
    du, dv = rng.random(2, dtype=np.float32)
    xc, yc = x - np.float32(0.5), y - np.float32(0.5)
    return Frame(cos * xc + sin * yc + du, cos * yc - sin * xc + dv)


def value_noise(rng: np.random.Generator, frame: Frame, cells_u: float, cells_v: float) -> ArrayF32:
    """Smooth noise with the given number of cells per image side along u and v.

    Returns:
        (S, S) float32, mean about 0, standard deviation about 0.6.
    """
    offset_u, offset_v = rng.uniform(64, _TABLE_SIDE - 64, 2)
    map_u = frame.u * np.float32(cells_u) + np.float32(offset_u)
    map_v = frame.v * np.float32(cells_v) + np.float32(offset_v)
    return np.asarray(
        cv2.remap(_noise_table(), map_u, map_v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP),
        np.float32,
    )


def fractal(
    rng: np.random.Generator,
    frame: Frame,
    cells_u: float,
    cells_v: float | None = None,
    octaves: int = 3,
    gain: float = 0.5,
) -> ArrayF32:
    """Sum of `octaves` noises, each of twice the frequency and `gain` times the size."""
    cells_v = cells_u if cells_v is None else cells_v
    total = value_noise(rng, frame, cells_u, cells_v)
    for octave in range(1, octaves):
        step = 2.0**octave
        total += np.float32(gain**octave) * value_noise(rng, frame, cells_u * step, cells_v * step)
    return total


def pixel_noise(rng: np.random.Generator, size: int) -> ArrayF32:
    """Independent normal noise, (size, size) float32, standard deviation 1."""
    return rng.standard_normal((size, size), dtype=np.float32)


def smoothstep(value: ArrayF32, low: float, high: float) -> ArrayF32:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def wave(phase: ArrayF32) -> ArrayF32:
    """A sine of period 1 in `phase`, between 0 and 1."""
    return np.asarray(np.sin(_TAU * phase) * np.float32(0.5) + np.float32(0.5), np.float32)


def distance_to_integer(value: ArrayF32) -> ArrayF32:
    """How far each value is from the nearest whole number, in [0, 0.5]."""
    return np.asarray(np.abs(value - np.round(value)), np.float32)
