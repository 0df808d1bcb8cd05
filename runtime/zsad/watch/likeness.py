"""Whether two frames show one part: the same pixels, or a burst of one still part.

A bound counts independent parts, and 200 frames of one still part are one; so does a rate of false
alarms. Two frames show one part if a small shift and a change of brightness explain all that
differs between their thumbnails but what sensor noise leaves there. An average over the pixels of a
thumbnail's cell hardly keeps any noise, while parts that differ do so over more than single pixels.

The rule cannot tell a burst from parts that no thumbnail can tell apart. It then counts too few,
which makes a bound wider than it need be and never narrower.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from zsad.inspection.config import Roi
from zsad.inspection.roi import rasterise
from zsad.types import ArrayBool, ArrayF32, ImageU8

THUMBNAIL = 48
"""Cells of a thumbnail in each direction."""

MAX_SHIFT_CELLS = 1.0
"""Largest shift within a burst: 2 % of the frame. Beyond it the part was laid down anew."""

MAX_BRIGHTNESS = 3.0
"""Largest change of the mean grey level within a burst, of 255: flicker of the light."""

NOISE_FACTOR = 4.0
"""How far what is left may lie above white noise: JPEG and demosaicing spread noise over pixels."""

MAX_NOISE = 3.0
"""Grey levels of noise that are believed: a fine texture looks like more."""

SHIFT_ERROR = 0.2
"""Share of a shift's effect that a step along the gradient does not explain."""

_BLUR = 1.0  # cells; makes the gradients of a thumbnail those of what it shows
_BORDER = 2  # cells at the rim, where a shift brings in what the other frame does not show
_FINE = 10  # steps across a cell in which a region is drawn
_QUANTISATION = 1 / 12  # variance of rounding to a grey level
_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # Immerkaer, 1996
_LAPLACIAN_NORM = 6.0
_MEDIAN_OF_NORMAL = 0.6745
_RIDGE = 1e-3  # keeps a flat frame's shift at 0 where any would do


@dataclass(frozen=True)
class Thumbnail:
    """What a frame is compared by.

    Attributes:
        values: (P,) float32 grey levels of the blurred cells.
        slopes: (2, P) float32, their change per cell down and to the right.
        noise: Standard deviation that the frame's noise leaves in a cell.
    """

    values: ArrayF32
    slopes: ArrayF32
    noise: float


def cells_of(roi: Roi | None) -> ArrayBool | None:
    """Return the cells of a thumbnail that a region touches; None without a region."""
    if roi is None:
        return None
    fine = rasterise(roi, THUMBNAIL * _FINE, THUMBNAIL * _FINE)
    return np.asarray(fine.reshape(THUMBNAIL, _FINE, THUMBNAIL, _FINE).any(axis=(1, 3)), bool)


def thumbnail_of(frame_bgr: ImageU8, region: ArrayBool | None = None) -> Thumbnail:
    """Return the thumbnail of a frame, (H, W, 3) uint8 BGR.

    Args:
        frame_bgr: The frame; one smaller than a thumbnail keeps its size.
        region: (THUMBNAIL, THUMBNAIL) bool, the cells to keep; None for all.
    """
    grey: Any = cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
    height, width = (min(side, THUMBNAIL) for side in grey.shape)
    cells: Any = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    cells = cv2.GaussianBlur(cells, (0, 0), _BLUR)
    slopes = np.stack(np.gradient(cells)) if min(cells.shape) > 1 else np.zeros((2, *cells.shape))
    kept = _kept(height, width, region)
    pixels_per_cell = grey.size / cells.size
    # White noise that is blurred keeps 1 / (4 pi sigma^2) of its variance.
    blurred = 1 / (4 * math.pi * _BLUR**2)
    variance = min(noise_of(grey), MAX_NOISE) ** 2 + _QUANTISATION
    noise = math.sqrt(variance * blurred / pixels_per_cell)
    return Thumbnail(cells[kept], slopes[:, kept].astype(np.float32), noise)


def noise_of(grey: ArrayF32) -> float:
    """Return the standard deviation of a picture's noise, in grey levels; fine texture adds to it.

    Args:
        grey: (H, W) float32.
    """
    response: Any = cv2.filter2D(grey, -1, _LAPLACIAN, borderType=cv2.BORDER_REFLECT_101)
    return float(np.median(np.abs(response))) / (_LAPLACIAN_NORM * _MEDIAN_OF_NORMAL)


def unlikeness(one: Thumbnail, other: Thumbnail) -> float:
    """Return how far two frames are from showing one part: 0 for equal ones, 1 at the limit."""
    noise = np.array([other.noise])
    return float(unlikeness_to_each(one, other.values[None], other.slopes[None], noise)[0])


def unlikeness_to_each(
    thumbnail: Thumbnail, values: ArrayF32, slopes: ArrayF32, noise: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return how far a frame is from showing each of M parts, (M,).

    Args:
        thumbnail: The frame's.
        values: (M, P) float32, `Thumbnail.values` of each part.
        slopes: (M, 2, P) float32, likewise.
        noise: (M,), likewise.
    """
    difference = values - thumbnail.values  # (M, P)
    # The mean of both slopes leaves an error of third order in the shift.
    both = 0.5 * (slopes + thumbnail.slopes)  # (M, 2, P)
    mean, middle = difference.mean(axis=1), both.mean(axis=2)
    difference, both = difference - mean[:, None], both - middle[:, :, None]
    size = thumbnail.values.size
    normal = np.einsum("mip,mjp->mij", both, both) / size + _RIDGE * np.eye(2)
    right = np.einsum("mip,mp->mi", both, difference) / size
    shift = np.linalg.solve(normal, right[:, :, None])[:, :, 0]  # (M, 2)
    brightness = mean - (shift * middle).sum(axis=1)
    explained = np.einsum("mi,mip->mp", shift, both)
    left = ((difference - explained) ** 2).mean(axis=1)
    variance = np.square(noise) + thumbnail.noise**2
    allowed = NOISE_FACTOR**2 * variance + SHIFT_ERROR**2 * (explained**2).mean(axis=1)
    ratios = np.stack(
        [
            np.sqrt(left / allowed),
            np.abs(shift).max(axis=1) / MAX_SHIFT_CELLS,
            np.abs(brightness) / MAX_BRIGHTNESS,
        ]
    )
    return np.asarray(ratios.max(axis=0), np.float64)


def _kept(height: int, width: int, region: ArrayBool | None) -> ArrayBool:
    kept = np.zeros((height, width), bool)
    rim_rows, rim_columns = (_BORDER if side > 4 * _BORDER else 0 for side in (height, width))
    kept[rim_rows : height - rim_rows, rim_columns : width - rim_columns] = True
    if region is not None and region.shape == kept.shape and (kept & region).any():
        kept &= region
    return kept
