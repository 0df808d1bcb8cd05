"""Random surfaces whose grain or weave changes in one place, for the variant `tiny-grain`.

Cloth, paper, cast and ground surfaces are often described as stationary random fields, and their
faults as places where another field shows (Bui and Apley, "A monitoring and diagnostic approach for
stochastic textured surfaces", Technometrics 60, 2018). Nothing else is wrong there: no edge, no
colour, often not even another mean brightness, and often in a few per mille of the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from zsad.data.synthetic.camera import photograph
from zsad.data.synthetic.captions import describe_defect, describe_good
from zsad.data.synthetic.colours import luma, random_colour
from zsad.data.synthetic.dataset import MIN_AREA, sample_rng
from zsad.data.synthetic.marks import blob, soft
from zsad.data.synthetic.noise import pixel_grid
from zsad.data.types import GOOD, Sample
from zsad.types import ArrayBool, ArrayF32
from zsad_train.tiny.fields import Field, Grain, Weave, loosened, random_grain, random_weave

GRAINS = "grains"
"""The name that caches and recipes know the samples by."""

CLASS_NAME = "grained surface"
DEFECT_TYPE = "abrasion"
"""The type of the table that comes closest; the captions speak of it."""

_STREAM = 0x677261696E
"""Keeps the random numbers apart from those of the generator's splits."""
_WOVEN_SHARE = 0.6
_GREY_SHARE = 0.6
_APART = 0.6
"""Smallest difference of two grains: of the logarithm of their contrast or of their gradient."""
_ATTEMPTS = 20


@dataclass(frozen=True)
class Grains:
    """Samples of grained and woven surfaces; every second one has another field in a few places.

    Attributes:
        count: Number of samples.
        seed: Another seed gives another set.
        size: Image side in pixels.
    """

    count: int
    seed: int = 0
    size: int = 224

    @property
    def name(self) -> str:
        """Always `grains`."""
        return GRAINS

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = sample_rng(index, len(self), self.seed, _STREAM)
        make = random_weave if rng.random() < _WOVEN_SHARE else random_grain
        normal: Field = make(rng, self.size)
        field = normal.draw(rng, self.size)
        mask = np.zeros(field.shape, np.bool_)
        drawn, kind = field, GOOD
        if index % 2:
            drawn, mask = damaged(rng, normal, field)
            kind = DEFECT_TYPE
        colour = random_colour(rng, saturation=(0.0, 0.6), value=(0.3, 0.75))
        clean, shown = (_tinted(colour, relief) for relief in (field, drawn))
        caption = describe_good(rng, CLASS_NAME)
        if index % 2:
            caption = describe_defect(rng, CLASS_NAME, kind, clean, shown, mask)
        return Sample(
            image_bgr=photograph(rng, shown, bool(rng.random() < _GREY_SHARE)),
            mask=mask,
            label=int(kind != GOOD),
            class_name=CLASS_NAME,
            defect_type=kind,
            name=f"{self.name}/{self.seed}/{index:06d}",
            caption=caption,
        )


def damaged(rng: np.random.Generator, normal: Field, field: ArrayF32) -> tuple[ArrayF32, ArrayBool]:
    """Return the field with one to three places of another one, and those places."""
    if isinstance(normal, Weave):
        other, draw_place = loosened(rng, normal).draw(rng, len(field)), _ellipse
    else:
        assert isinstance(normal, Grain)
        grain, other = _other_grain(rng, normal, field)
        if rng.random() < 0.4:
            other = other + np.float32(rng.uniform(-1, 1) * grain.contrast)
        draw_place = _blob
    cover = np.zeros_like(field)
    while float((cover > 0.4).mean()) < MIN_AREA:
        for _ in range(int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))):
            cover = np.maximum(cover, draw_place(rng, len(field)))
    return np.asarray(field + cover * (other - field), np.float32), np.asarray(cover > 0.4)


def _other_grain(
    rng: np.random.Generator, normal: Grain, field: ArrayF32
) -> tuple[Grain, ArrayF32]:
    """A grain that is plainly another one, and a realisation of it."""
    size = len(field)
    found, far = (normal, field), -1.0
    for _ in range(_ATTEMPTS):
        drawn = random_grain(rng, size)
        if rng.random() < 0.7:  # nothing but the structure differs, or it is stronger or weaker
            strength = np.exp(rng.uniform(-0.7, 0.7)) if rng.random() < 0.6 else 1.0
            drawn = replace(drawn, contrast=normal.contrast * float(strength))
        other = drawn.draw(rng, size)
        distance = float(np.abs(_statistics(other) - _statistics(field)).max())
        if distance > far:
            found, far = (drawn, other), distance
        if distance >= _APART:
            break
    return found


def _statistics(field: ArrayF32) -> ArrayF32:
    """Logarithms of the contrast and of the mean step between neighbours."""
    step = np.abs(np.diff(field, axis=1)).mean() + np.abs(np.diff(field, axis=0)).mean()
    return np.log(np.array([field.std(), step], np.float32))


def _blob(rng: np.random.Generator, size: int) -> ArrayF32:
    """Cover of an uneven place, (size, size) in [0, 1]."""
    radius = np.exp(rng.uniform(np.log(0.012), np.log(0.07)))
    at = (float(rng.uniform(0.03, 0.97)), float(rng.uniform(0.03, 0.97)))
    return soft(blob(rng, size, at, float(radius), 0.5), float(rng.uniform(0.05, 0.5)))


def _ellipse(rng: np.random.Generator, size: int) -> ArrayF32:
    """Cover of an ellipse, (size, size) in [0, 1]; its half axes are 1.3 to 7 % of the side."""
    x, y = pixel_grid(size)
    half = np.exp(rng.uniform(np.log(0.013), np.log(0.07), 2))
    middle = rng.uniform(half.max(), 1 - half.max(), 2).astype(np.float32)
    angle = rng.uniform(0, np.pi) if rng.random() < 0.4 else 0.0  # often along the threads
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along = (cos * (x - middle[0]) + sin * (y - middle[1])) / np.float32(half[0])
    across = (cos * (y - middle[1]) - sin * (x - middle[0])) / np.float32(half[1])
    inside = (1 - np.hypot(along, across)) * np.float32(half.min() * size)  # about pixels
    edge = np.float32(rng.uniform(0.3, 1.5) if rng.random() < 0.5 else 0.02)
    return np.asarray(np.clip(inside / edge + 0.5, 0, 1), np.float32)


def _tinted(colour: ArrayF32, field: ArrayF32) -> ArrayF32:
    """A surface of one colour, (S, S, 3) float32 BGR, whose brightness follows a field."""
    level = max(float(luma(colour)), 1.0)
    return np.asarray(colour * (1 + field / np.float32(level))[..., None], np.float32)
