"""What lies between a surface and its photograph: light, lens, colour and sensor."""

from __future__ import annotations

import cv2
import numpy as np

from zsad.data.synthetic.colours import luma, scale_light
from zsad.data.synthetic.noise import pixel_grid
from zsad.types import ArrayF32, ImageU8


def photograph(rng: np.random.Generator, image: ArrayF32, grey_scale: bool) -> ImageU8:
    """Take the picture of a scene.

    Args:
        rng: Source of the light, lens and sensor; the same state gives the same camera.
        image: Scene, (S, S, 3) float32 BGR in about [0, 255].
        grey_scale: Whether the camera sees no colour.

    Returns:
        (S, S, 3) uint8 BGR; three equal channels for a grey-scale camera.
    """
    size = image.shape[0]
    lit = scale_light(image, _light(rng, size))
    if grey_scale:
        lit = np.repeat(luma(lit)[..., None], 3, axis=2)
    else:
        lit = lit * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    if rng.random() < 0.4:
        sigma = rng.uniform(0.4, 0.9) * size / 224
        lit = np.asarray(cv2.GaussianBlur(lit, (0, 0), sigma), np.float32)
    return _sense(rng, lit, grey_scale)


def _light(rng: np.random.Generator, size: int) -> ArrayF32:
    x, y = pixel_grid(size)
    slope = rng.uniform(-0.35, 0.35, 2).astype(np.float32)
    light = slope[0] * (x - np.float32(0.5)) + slope[1] * (y - np.float32(0.5))
    if rng.random() < 0.35:
        spot_x, spot_y = rng.random(2).astype(np.float32)
        distance = (x - spot_x) ** 2 + (y - spot_y) ** 2
        light = light + np.float32(rng.uniform(0.1, 0.35)) * np.exp(
            -distance / np.float32(rng.uniform(0.03, 0.3))
        )
    return np.asarray(np.float32(rng.uniform(0.8, 1.15)) + light, np.float32)


def _sense(rng: np.random.Generator, image: ArrayF32, grey_scale: bool) -> ImageU8:
    size = image.shape[0]
    sigma = np.float32(rng.choice([0.5, 1.0, 2.0, 4.0]))
    channels = 1 if grey_scale else 3
    noisy = image + sigma * rng.standard_normal((size, size, channels), dtype=np.float32)
    if rng.random() < 0.4:
        # Dead pixels, so that the darkest pixel of an image says nothing about the part.
        rows, columns = rng.integers(0, size, (2, int(rng.integers(1, 4))))
        noisy[rows, columns] *= np.float32(rng.uniform(0.0, 0.3))
    return np.asarray(np.clip(noisy + np.float32(0.5), 0, 255), np.uint8)
