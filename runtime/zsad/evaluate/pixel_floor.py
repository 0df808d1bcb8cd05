"""The floor for pixels: the best of a fixed list of plain per-pixel statistics.

As in `zsad.evaluate.floor` the choice is an oracle, made with the test masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from zsad.errors import InputError
from zsad.evaluate.floor import gradient_magnitude
from zsad.metrics.pixel_counts import (
    PixelCounts,
    count_levels,
    counts_auroc,
    region_shares,
)
from zsad.types import ArrayBool, ImageU8

PIXEL_STATISTICS = (
    "grey",
    "from_median",
    "colour_from_median",
    "from_median_smooth",
    "from_surroundings_fine",
    "from_surroundings_coarse",
    "gradient",
    "gradient_smooth",
    "local_spread_fine",
    "local_spread_coarse",
    "centre",
)
"""Grey level; its distance from the image's median, also in colour and smoothed; its distance from
the local mean in a fine and a coarse window; gradient, plain and smoothed; local standard deviation
in both windows; closeness to the image's centre, where parts and so defects tend to be."""

FINE, COARSE = 0.02, 0.1
"""Side of the windows, as a share of the image's longer side."""

LEVELS = 512
"""The statistics live in [0, 256) and are kept in half grey levels, so that counting the levels is
an exact AUROC of what was counted."""


@dataclass(frozen=True)
class PixelFloor:
    """The chosen statistic.

    Attributes:
        statistic: Its place in `PIXEL_STATISTICS`.
        sign: 1, or -1 where low values are anomalous.
    """

    statistic: int
    sign: int

    @property
    def name(self) -> str:
        """For example `- grey`."""
        return f"{'+' if self.sign > 0 else '-'} {PIXEL_STATISTICS[self.statistic]}"


def pixel_statistics(frame_bgr: ImageU8) -> npt.NDArray[np.float32]:
    """Return the statistics of every pixel, in the order of `PIXEL_STATISTICS`.

    Args:
        frame_bgr: (H, W, 3) uint8 BGR.

    Returns:
        (S, H, W) float32 in [0, 256).
    """
    grey = cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
    colour = frame_bgr.astype(np.float32)
    fine, coarse = (_odd(share * max(grey.shape)) for share in (FINE, COARSE))
    from_median = np.abs(grey - np.median(grey))
    colour_distance = np.abs(colour - np.median(colour, axis=(0, 1))).mean(axis=2)
    gradient = gradient_magnitude(grey)
    planes = (
        grey,
        from_median,
        colour_distance,
        _mean(from_median, coarse),
        np.abs(grey - _mean(grey, fine)),
        np.abs(grey - _mean(grey, coarse)),
        gradient,
        _mean(gradient, coarse),
        _spread(grey, fine),
        _spread(grey, coarse),
        _centre(grey.shape),
    )
    return np.stack(planes).astype(np.float32)


def floor_counts(frame_bgr: ImageU8, mask: ArrayBool) -> PixelCounts:
    """Count every statistic's half grey levels in one image, (S, 3, LEVELS) float32.

    Args:
        frame_bgr: (H, W, 3) uint8 BGR.
        mask: (H, W) bool, True where anomalous.
    """
    shares = region_shares(mask)
    levels = _levels(frame_bgr)
    return np.stack([count_levels(plane, mask, shares, LEVELS) for plane in levels])


def floor_map(
    frame_bgr: ImageU8, mask: ArrayBool, floor: PixelFloor
) -> tuple[npt.NDArray[np.float32], PixelCounts]:
    """Return the chosen statistic as an anomaly map, and its counts.

    Args:
        frame_bgr: (H, W, 3) uint8 BGR.
        mask: (H, W) bool, True where anomalous.
        floor: What was chosen.

    Returns:
        (H, W) float32 in half grey levels, and (3, LEVELS) float32, ascending towards anomalous.
    """
    levels = _levels(frame_bgr)[floor.statistic]
    counts = count_levels(levels, mask, region_shares(mask), LEVELS)
    return np.asarray(floor.sign * levels, np.float32), counts[:, :: floor.sign]


def choose_pixel_floor(classes: Sequence[npt.NDArray[np.float64]]) -> PixelFloor:
    """Choose the statistic and sign with the best pixel AUROC, averaged over classes.

    Args:
        classes: Per class with normal and anomalous pixels, (S, 3, LEVELS) summed `floor_counts`.

    Raises:
        InputError: There is no class.
    """
    if not classes:
        raise InputError("the pixel floor needs a class with anomalous pixels")
    values = np.mean([counts_auroc(total) for total in classes], axis=0)  # (S,)
    at = int(np.argmax(np.maximum(values, 1 - values)))
    return PixelFloor(at, 1 if values[at] >= 0.5 else -1)


def _levels(frame_bgr: ImageU8) -> npt.NDArray[np.int32]:
    return (pixel_statistics(frame_bgr) * 2).astype(np.int32).clip(0, LEVELS - 1)


def _odd(side: float) -> int:
    return max(3, int(side) | 1)


def _mean(plane: npt.NDArray[Any], window: int) -> npt.NDArray[Any]:
    return np.asarray(cv2.blur(plane, (window, window)))


def _spread(grey: npt.NDArray[Any], window: int) -> npt.NDArray[Any]:
    # About the image's mean, since E[x^2] - E[x]^2 in float32 loses small spreads of bright images.
    centred = grey - grey.mean()
    variance = _mean(centred * centred, window) - _mean(centred, window) ** 2
    return np.asarray(np.sqrt(np.maximum(variance, 0)))


def _centre(shape: tuple[int, ...]) -> npt.NDArray[Any]:
    rows, columns = (np.abs(np.linspace(-1, 1, n)) for n in shape)
    return np.asarray(255 * (1 - np.hypot(rows[:, None], columns[None, :]) / np.sqrt(2)))
