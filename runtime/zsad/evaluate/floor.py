"""The floor: how far plain image statistics get, without any model.

A data set whose defective parts are simply darker is "solved" by their mean grey level, and a
model's AUROC on it says nothing until the floor stands beside it. The floor is an oracle: of a
fixed list of statistics, the best single one or pair is chosen, signs included, with the test
labels. It is therefore higher than anything a user could have picked beforehand, and a model that
stays below it has not shown that it sees defects.

The list was fixed before any model was evaluated. It may grow; nothing may be taken out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from zsad.errors import InputError
from zsad.metrics import auroc
from zsad.types import ArrayBool, ImageU8

Floats = npt.NDArray[np.floating[Any]]

LONGEST_SIDE_PX = 512
"""Larger frames are shrunk by area first, so that no statistic depends on the camera's size."""

BLOCKS = 8
"""Blocks per side of the grid behind the block statistics."""

IMAGE_STATISTICS = (
    "mean",
    "spread",
    "contrast",
    "dark_percentile",
    "bright_percentile",
    "darkest_block",
    "brightest_block",
    "block_spread",
    "laplacian_variance",
    "mean_gradient",
    "steep_gradient",
    "fft_peak",
    "saturation",
)
"""Mean grey level; its standard deviation; that over the mean; 1st and 99th percentile; lowest,
highest and standard deviation of 8x8 block means; variance of the Laplacian; mean and 99th
percentile of the gradient; share of the spectrum's highest line; mean of max - min over colours."""


@dataclass(frozen=True)
class ImageFloor:
    """The chosen statistic or pair.

    Attributes:
        name: For example `- mean` or `+ contrast - laplacian_variance`.
        scores: Its score of every image, (n,) per class, higher = more anomalous.
    """

    name: str
    scores: Mapping[str, npt.NDArray[np.float64]]


def image_statistics(frame_bgr: ImageU8) -> npt.NDArray[np.float64]:
    """Return the statistics of one frame, in the order of `IMAGE_STATISTICS`, (S,).

    Args:
        frame_bgr: (H, W, 3) uint8 BGR.
    """
    frame = _shrink(frame_bgr)
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.float32)
    mean, spread = float(grey.mean()), float(grey.std())
    dark, bright = np.percentile(grey, [1, 99])
    blocks = cv2.resize(grey, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
    gradient = gradient_magnitude(grey)
    spectrum = np.hypot(*cv2.split(cv2.dft(grey - mean, flags=cv2.DFT_COMPLEX_OUTPUT)))
    blue, green, red = cv2.split(frame)
    colours = cv2.max(cv2.max(blue, green), red) - cv2.min(cv2.min(blue, green), red)
    values = (
        mean,
        spread,
        spread / (mean + 1),
        dark,
        bright,
        blocks.min(),
        blocks.max(),
        blocks.std(),
        cv2.Laplacian(grey, cv2.CV_32F).var(),
        gradient.mean(),
        np.percentile(gradient, 99),
        spectrum.max() / (spectrum.sum() + 1),
        colours.mean(),
    )
    return np.array(values, dtype=np.float64)


def gradient_magnitude(grey: Floats) -> npt.NDArray[np.float32]:
    """Return the Sobel gradient of a grey image, (H, W) float32, in grey levels per pixel."""
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order) / 8 for order in ((1, 0), (0, 1)))
    return np.asarray(np.hypot(across, down), dtype=np.float32)


def choose_image_floor(classes: Mapping[str, tuple[Floats, ArrayBool]]) -> ImageFloor:
    """Choose the statistic or pair with the best AUROC, averaged over classes.

    A pair is the sum or the difference of two statistics after each was brought to mean 0 and
    standard deviation 1 within the class. One choice serves all classes, as one model does.

    Args:
        classes: Per class with both labels, (n, S) statistics and (n,) labels, True = anomalous.

    Raises:
        InputError: There is no class.
    """
    if not classes:
        raise InputError("the floor needs a class with good and defective images")
    standardised = {c: (_standardise(values), labels) for c, (values, labels) in classes.items()}
    best, best_weights = -1.0, np.zeros(len(IMAGE_STATISTICS))
    for weights in _combinations(len(IMAGE_STATISTICS)):
        value = float(np.mean([auroc(z @ weights, labels) for z, labels in standardised.values()]))
        # Turning every sign turns the ranking around.
        for signed, quality in ((weights, value), (-weights, 1 - value)):
            if quality > best:
                best, best_weights = quality, signed
    scores = {name: z @ best_weights for name, (z, _) in standardised.items()}
    return ImageFloor(_name(best_weights), scores)


def _combinations(count: int) -> list[npt.NDArray[np.float64]]:
    """Return the weights of every single statistic, sum of two and difference of two."""
    unit = np.eye(count)
    pairs = [unit[i] + s * unit[j] for i, j in combinations(range(count), 2) for s in (1, -1)]
    return [*unit, *pairs]


def _name(weights: npt.NDArray[np.float64]) -> str:
    chosen = ((w, n) for w, n in zip(weights, IMAGE_STATISTICS, strict=True) if w)
    return " ".join(f"{'+' if weight > 0 else '-'} {name}" for weight, name in chosen)


def _standardise(values: Floats) -> npt.NDArray[np.float64]:
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def _shrink(frame_bgr: ImageU8) -> ImageU8:
    height, width = frame_bgr.shape[:2]
    scale = LONGEST_SIDE_PX / max(height, width)
    if scale >= 1:
        return frame_bgr
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(frame_bgr, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
