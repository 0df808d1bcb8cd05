"""Normal things found on a surface: joints, rivets, eyelets, prints and glare.

They look enough like defects (dark lines, round openings, bright spots) that neither the darkest
pixel nor the sharpest edge of an image tells whether a part is good.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zsad.data.synthetic.assembly import printed_text
from zsad.data.synthetic.colours import blend, random_colour, scale_light
from zsad.data.synthetic.noise import pixel_grid, smoothstep
from zsad.data.synthetic.shapes import Pose, circle, fill
from zsad.types import ArrayF32

Fitting = Callable[[np.random.Generator, ArrayF32], ArrayF32]


def joint(rng: np.random.Generator, image: ArrayF32) -> ArrayF32:
    """One or two straight grooves from edge to edge, where panels meet: dark, with a lit side."""
    x, y = pixel_grid(image.shape[0])
    angle, width = rng.uniform(0, np.pi), rng.uniform(0.012, 0.03)
    across = np.float32(np.cos(angle)) * (x - np.float32(0.5)) + np.float32(np.sin(angle)) * (
        y - np.float32(0.5)
    )
    light = np.ones_like(across)
    for _ in range(rng.integers(1, 3)):
        line = across - np.float32(rng.uniform(-0.4, 0.4))
        groove = 1 - smoothstep(np.abs(line), 0.8 * width, 1.1 * width)
        lit = 1 - smoothstep(np.abs(line - np.float32(1.5 * width)), 0.3 * width, 0.6 * width)
        light += np.float32(0.25) * lit - np.float32(rng.uniform(0.5, 0.95)) * groove
    return scale_light(image, np.maximum(light, np.float32(0.03)))


def rivets(rng: np.random.Generator, image: ArrayF32) -> ArrayF32:
    """A straight row of equal round heads or eyelets, dark or bright."""
    size = image.shape[0]
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(0.1, 0.3)
    radius = rng.uniform(0.12, 0.25) * pitch
    pose = Pose(rng.uniform(0.2, 0.8) * size, rng.uniform(0.2, 0.8) * size, float(size), angle)
    steps = np.arange(-10, 11) * pitch
    heads = fill(size, *(pose.place(circle(step, 0, radius, 24)) for step in steps))
    glints = fill(
        size, *(pose.place(circle(step + 0.2 * radius, 0, 0.5 * radius, 16)) for step in steps)
    )
    colour = random_colour(rng, saturation=(0, 0.3), value=(0.02, 0.7))
    fitted = blend(image, colour, heads)
    return blend(fitted, colour + np.float32(rng.uniform(-60, 90)), glints * np.float32(0.7))


def print_line(rng: np.random.Generator, image: ArrayF32) -> ArrayF32:
    """A printed line of text."""
    size = image.shape[0]
    x, y = rng.uniform(0.3, 0.7) * size, rng.uniform(0.3, 0.7) * size
    pose = Pose(x, y, 0.5 * size, rng.uniform(0, 2 * np.pi))
    ink = printed_text(rng, size, pose, rng.uniform(0.12, 0.3), int(rng.integers(3, 9)))
    colour = random_colour(rng, value=(0.02, 0.95))
    return blend(image, colour, ink * np.float32(rng.uniform(0.5, 1.0)))


def glare(rng: np.random.Generator, image: ArrayF32) -> ArrayF32:
    """A soft reflection of a lamp or a soft shadow, in a straight band or a round spot."""
    x, y = pixel_grid(image.shape[0])
    angle = rng.uniform(0, 2 * np.pi)
    dx, dy = x - np.float32(rng.random()), y - np.float32(rng.random())
    across = np.float32(np.cos(angle)) * dx + np.float32(np.sin(angle)) * dy
    distance = np.abs(across) if rng.random() < 0.5 else np.sqrt(dx * dx + dy * dy)
    shape = np.exp(-((distance / np.float32(rng.uniform(0.2, 0.4))) ** 2))
    return scale_light(image, 1 + np.float32(rng.uniform(-0.4, 0.4)) * shape)


FITTINGS: tuple[Fitting, ...] = (joint, rivets, print_line, glare)


def fit(
    rng: np.random.Generator, image: ArrayF32, kinds: tuple[Fitting, ...] = FITTINGS
) -> ArrayF32:
    """Put none or one normal thing on a surface.

    Args:
        rng: Source of the choice.
        image: Surface, (S, S, 3) float32 BGR in about [0, 255].
        kinds: What to choose from, each equally likely.
    """
    for _ in range(rng.choice([0, 0, 1, 1])):
        image = kinds[int(rng.integers(len(kinds)))](rng, image)
    return image
