"""Random colours and ways to lay them over a field. All colours are BGR floats in [0, 255]."""

from __future__ import annotations

import colorsys

import numpy as np

from zsad.types import ArrayF32


def hsv(hue_degrees: float, saturation: float, value: float) -> ArrayF32:
    """A colour from hue in degrees, saturation and value in [0, 1], as (3,) BGR."""
    r, g, b = colorsys.hsv_to_rgb(hue_degrees % 360 / 360, saturation, value)
    return np.asarray([b * 255, g * 255, r * 255], np.float32)


def random_colour(
    rng: np.random.Generator,
    hue: tuple[float, float] = (0, 360),
    saturation: tuple[float, float] = (0.1, 0.7),
    value: tuple[float, float] = (0.3, 0.85),
) -> ArrayF32:
    """A colour drawn from ranges of hue (degrees), saturation and value, as (3,) BGR."""
    return hsv(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))


def grey(value: float) -> ArrayF32:
    """A neutral grey of `value` in [0, 1], as (3,) BGR."""
    return np.full(3, value * 255, np.float32)


def blend(low: ArrayF32, high: ArrayF32, weight: ArrayF32) -> ArrayF32:
    """`low` where `weight` (S, S) is 0, `high` where it is 1.

    Args:
        low: (3,) colour or (S, S, 3) image.
        high: (3,) colour or (S, S, 3) image.
        weight: (S, S) float32, usually in [0, 1].
    """
    return np.asarray(low + (high - low) * weight[..., None], np.float32)


def scale_light(image: ArrayF32, gain: ArrayF32) -> ArrayF32:
    """Multiply an image (S, S, 3) by a field of light (S, S)."""
    return np.asarray(image * gain[..., None], np.float32)


def luma(image: ArrayF32) -> ArrayF32:
    """Brightness of a BGR image, (S, S) in the units of the image."""
    return np.asarray(image @ np.array([0.114, 0.587, 0.299], np.float32), np.float32)
