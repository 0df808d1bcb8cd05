"""Normal things on the pretrain split's surfaces, beside those of `fittings`.

Stickers, tape, the edge of another material and hard shadows: all have sharp outlines and none is
a defect.
"""

from __future__ import annotations

import numpy as np

from zsad.data.synthetic.assembly import printed_text
from zsad.data.synthetic.cells import grid_tones
from zsad.data.synthetic.colours import blend, random_colour, scale_light
from zsad.data.synthetic.fittings import FITTINGS, Fitting
from zsad.data.synthetic.noise import pixel_grid, random_frame, smoothstep
from zsad.data.synthetic.shapes import Pose, fill, rounded_box
from zsad.types import ArrayF32


def _anywhere(rng: np.random.Generator, size: int, reach: float) -> Pose:
    x, y = rng.uniform(0.15, 0.85, 2) * size
    return Pose(float(x), float(y), reach * size, float(rng.uniform(0, 2 * np.pi)))


def sticker(rng: np.random.Generator, image: ArrayF32) -> ArrayF32:
    """A printed label with its thin shadow."""
    size = image.shape[0]
    pose = _anywhere(rng, size, rng.uniform(0.1, 0.25))
    half = rng.uniform(0.3, 1.0)
    cover = fill(size, pose.place(rounded_box(1.0, half, rng.uniform(0.03, 0.28))))
    shaded = scale_light(image, 1 - np.float32(0.3) * np.roll(cover, 2, (0, 1)))
    paper = random_colour(rng, saturation=(0, 0.8), value=(0.5, 0.97))
    ink = printed_text(rng, size, pose, 0.6 * half, int(rng.integers(2, 6)))
    label = blend(shaded, paper, cover)
    return blend(label, random_colour(rng, value=(0.03, 0.4)), ink * cover)


def tape(rng: np.random.Generator, image: ArrayF32) -> ArrayF32:
    """A straight strip of half-transparent tape from edge to edge."""
    line = _across(rng, image.shape[0])
    half = rng.uniform(0.03, 0.12)
    cover = 1 - smoothstep(np.abs(line), half, half + 0.006)
    film = random_colour(rng, saturation=(0, 0.7), value=(0.2, 0.95))
    return blend(image, film, cover * np.float32(rng.uniform(0.3, 0.9)))


def other_material(rng: np.random.Generator, image: ArrayF32) -> ArrayF32:
    """One side of the picture is another, plain material behind a straight edge."""
    size = image.shape[0]
    side = _across(rng, size) - np.float32(rng.uniform(0.1, 0.35))
    frame = random_frame(rng, size)
    pitch = np.float32(rng.uniform(20, 60))
    grain = grid_tones(rng, frame.u * pitch, frame.v * 4)
    other = scale_light(random_colour(rng, value=(0.1, 0.9)), 1 + np.float32(0.05) * grain)
    edge = np.exp(-((side / np.float32(0.012)) ** 2)) * np.float32(rng.uniform(-0.5, 0.3))
    return scale_light(blend(image, other, smoothstep(side, -0.003, 0.003)), 1 + edge)


def hard_shadow(rng: np.random.Generator, image: ArrayF32) -> ArrayF32:
    """The sharp shadow of something outside the picture."""
    size = image.shape[0]
    pose = _anywhere(rng, size, rng.uniform(0.3, 0.7))
    turn = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 6))))
    shape = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
    cover = fill(size, pose.place(shape))
    return scale_light(image, 1 - np.float32(rng.uniform(0.2, 0.5)) * cover)


def _across(rng: np.random.Generator, size: int) -> ArrayF32:
    """Signed distance from a random straight line near the middle, in image sides."""
    x, y = pixel_grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    dx, dy = x - np.float32(rng.uniform(0.3, 0.7)), y - np.float32(rng.uniform(0.3, 0.7))
    return np.asarray(np.float32(np.cos(angle)) * dx + np.float32(np.sin(angle)) * dy, np.float32)


MORE_FITTINGS: tuple[Fitting, ...] = (*FITTINGS, sticker, tape, other_material, hard_shadow)
