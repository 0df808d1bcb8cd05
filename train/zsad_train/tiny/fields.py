"""Stationary random fields, as grained and woven surfaces are described by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from zsad.types import ArrayF32

_Floats = npt.NDArray[np.floating]
_Complex = npt.NDArray[np.complexfloating]


class Field(Protocol):
    """Something that surfaces can be drawn from; every draw is another one of the same kind."""

    def draw(self, rng: np.random.Generator, size: int) -> ArrayF32:
        """One realisation, (size, size) float32 in grey levels, mean about 0."""


@dataclass(frozen=True)
class Grain:
    """Noise of any length, direction and roughness.

    Attributes:
        length_px: About how far a grain reaches.
        stretch: How many times as long as wide it is.
        angle: Its direction, radians.
        slope: Fall of the amplitude above the grain's frequency; small is rough.
        white: Share of the variance that is noise from pixel to pixel.
        skew: Bends the distribution: positive has bright specks, negative dark ones.
        contrast: Standard deviation, in grey levels.
    """

    length_px: float
    stretch: float
    angle: float
    slope: float
    white: float
    skew: float
    contrast: float

    def draw(self, rng: np.random.Generator, size: int) -> ArrayF32:
        """One realisation, (size, size) float32 in grey levels."""
        smooth = _filtered(rng, size, self._amplitude(size))
        smooth /= max(float(smooth.std()), 1e-6)
        noise = rng.standard_normal((size, size), dtype=np.float32)
        mixed = np.sqrt(1 - self.white) * smooth + np.sqrt(self.white) * noise
        bent = mixed + np.float32(self.skew) * (mixed**2 - 1)
        spread = np.sqrt(1 + 2 * self.skew**2)
        return np.asarray(np.float32(self.contrast / spread) * bent, np.float32)

    def _amplitude(self, size: int) -> _Floats:
        """The filter's gain at every frequency of `rfft2`."""
        rows, columns = _frequencies(size)
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        along, across = cos * columns + sin * rows, cos * rows - sin * columns
        reach = 2 * np.pi * self.length_px
        square = (reach * self.stretch * along) ** 2 + (reach * across) ** 2
        return np.asarray((1 + square) ** (-self.slope / 2))


@dataclass(frozen=True)
class Weave:
    """A spatial autoregression of first order: every pixel leans on the one above and the left one.

    Simulated cloth is often drawn so, that of the `textile-local` test set included: by `sarGen` of
    the R package spc4sts (Bui and Apley, "A monitoring and diagnostic approach for stochastic
    textured surfaces", Technometrics 60, 2018). Left and top meet right and bottom.

    Attributes:
        down: Share of the pixel above that goes over into a pixel.
        right: Share of the left one; the magnitudes of both together are below 1.
        innovation: Standard deviation of what is new in each pixel, in grey levels.
    """

    down: float
    right: float
    innovation: float

    def draw(self, rng: np.random.Generator, size: int) -> ArrayF32:
        """One realisation, (size, size) float32 in grey levels."""
        field = _filtered(rng, size, self._response(size))
        return np.asarray(np.float32(self.innovation) * field, np.float32)

    def contrast(self, size: int) -> float:
        """Standard deviation of a realisation as large as (size, size), in grey levels."""
        square = np.abs(self._response(size)) ** 2
        inner = square[:, 1 : (size + 1) // 2].sum()  # `rfft2` leaves their mirror images out
        return self.innovation * float(np.sqrt((square.sum() + inner) / size**2))

    def _response(self, size: int) -> _Complex:
        rows, columns = (np.exp(-2j * np.pi * each) for each in _frequencies(size))
        return np.asarray(1 / (1 - self.down * rows - self.right * columns))


def _frequencies(size: int) -> tuple[_Floats, _Floats]:
    """Cycles per pixel of `rfft2`, (size, 1) and (1, size // 2 + 1)."""
    return np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]


def _filtered(rng: np.random.Generator, size: int, response: _Floats | _Complex) -> ArrayF32:
    noise = rng.standard_normal((size, size), dtype=np.float32)
    field = np.fft.irfft2(np.fft.rfft2(noise) * response, s=(size, size))
    return np.asarray(field, np.float32)


def random_grain(rng: np.random.Generator, size: int) -> Grain:
    """Draw a grain for images of `size` px."""
    return Grain(
        length_px=float(np.exp(rng.uniform(np.log(0.5), np.log(8))) * size / 224),
        stretch=float(np.exp(rng.uniform(0, np.log(5)))),
        angle=float(rng.uniform(0, np.pi)),
        slope=float(rng.uniform(1.0, 4.0)),
        white=float(rng.uniform(0, 0.9)),
        skew=float(rng.normal(0, 0.12)),
        contrast=float(np.exp(rng.uniform(np.log(7), np.log(45)))),
    )


def random_weave(rng: np.random.Generator, size: int) -> Weave:
    """Draw a weave for images of `size` px."""
    together = 1 - np.exp(rng.uniform(np.log(0.02), np.log(0.3)))
    share = rng.uniform(0.2, 0.8)
    plain = Weave(float(together * share), float(together * (1 - share)), 1.0)
    contrast = np.exp(rng.uniform(np.log(15), np.log(50)))
    return Weave(plain.down, plain.right, float(contrast / plain.contrast(size)))


def loosened(rng: np.random.Generator, weave: Weave) -> Weave:
    """Draw a weave that leans less than another one; often it does not lean at all."""
    kept = rng.uniform(0, 0.6, 2) * (rng.random() < 0.5)
    strength = np.exp(rng.normal(0, 0.25)) if rng.random() < 0.4 else 1.0
    return Weave(
        weave.down * float(kept[0]),
        weave.right * float(kept[1]),
        weave.innovation * float(strength),
    )
