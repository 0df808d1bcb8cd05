"""What can be said of a frame without a model: how bright, how sharp and where it is."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from zsad.errors import InputError
from zsad.preprocess import check_frame
from zsad.types import ImageU8

SIDE = 64
"""Rows and columns of the small picture by which a part's place is found."""

MIN_PARTS = 20
"""Good parts below which no drift could be told from chance in a useful number of parts."""

_BLACK, _WHITE = 2, 253
_TRIM = 0.05

Picture = npt.NDArray[np.uint8]
"""(SIDE, SIDE) uint8, the grey levels of a frame squashed to a square."""


@dataclass(frozen=True)
class Appearance:
    """One frame.

    Attributes:
        level: Mean grey level of 255, without the darkest and brightest 5 % of the areas.
        saturation: Share of pixels that are black or white.
        sharpness: Logarithm of the share of fine detail in the contrast, which neither gain nor
            offset changes: 0.2 less is a fifth less detail.
        picture: Where things are.
    """

    level: float
    saturation: float
    sharpness: float
    picture: Picture


@dataclass(frozen=True)
class DriftReference:
    """How the good parts looked, kept in the recipe; one value per part.

    Attributes:
        levels: `Appearance.level` of each.
        saturations: `Appearance.saturation` of each.
        sharpness: `Appearance.sharpness` of each.
        offsets: How far each lay from the mean of the others, as a share of the frame.
        picture: The mean of their small pictures, its bytes row by row in base64.
    """

    levels: tuple[float, ...]
    saturations: tuple[float, ...]
    sharpness: tuple[float, ...]
    offsets: tuple[float, ...]
    picture: str

    def __post_init__(self) -> None:
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "picture"}
        for name, values in columns.items():
            if len(values) != len(self.levels) or len(values) < MIN_PARTS:
                raise InputError(
                    f"drift reference: {len(values)} {name} where {MIN_PARTS} or more of each are"
                    " wanted: run zsad-calibrate again"
                )
            if not all(map(math.isfinite, values)):
                raise InputError(f"drift reference: {name} that are no numbers: calibrate again")
        _decoded(self.picture)

    def offset(self, picture: Picture) -> float:
        """Return how far a part lies from where the good parts lay, as a share of the frame."""
        return _offset(picture, _decoded(self.picture).astype(np.float32))


class DriftCollector:
    """Makes a reference of good parts that come one at a time; it keeps no frame."""

    def __init__(self) -> None:
        self._seen: list[Appearance] = []

    def add(self, frame_bgr: ImageU8) -> None:
        """Take one good part, (H, W, 3) uint8 BGR.

        Raises:
            InputError: It is no usable image.
        """
        self._seen.append(appearance_of(frame_bgr))

    def reference(self) -> DriftReference | None:
        """Return the reference; None where the parts are fewer than `MIN_PARTS`."""
        if len(self._seen) < MIN_PARTS:
            return None
        pictures = np.stack([each.picture for each in self._seen]).astype(np.float32)
        total, others = pictures.sum(axis=0), len(pictures) - 1
        # A part must not be compared with a mean that it is in itself, as no later part is.
        offsets = [_offset(each, (total - each) / others) for each in pictures]
        mean = np.rint(total / len(pictures)).astype(np.uint8)
        return DriftReference(
            levels=_rounded(each.level for each in self._seen),
            saturations=_rounded(each.saturation for each in self._seen),
            sharpness=_rounded(each.sharpness for each in self._seen),
            offsets=_rounded(offsets),
            picture=base64.b64encode(mean.tobytes()).decode(),
        )


def appearance_of(frame_bgr: ImageU8) -> Appearance:
    """Measure one frame, (H, W, 3) uint8 BGR; some 2 ms at 1080p.

    Raises:
        InputError: It is no usable image.
    """
    import cv2

    # OpenCV refuses what numpy has flipped or turned without copying it.
    frame = np.ascontiguousarray(check_frame(frame_bgr))
    grey: Any = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    height, width = grey.shape
    # Half the size: a sensor's noise is of the finest detail and would hide the optics'.
    half: Any = cv2.resize(
        grey, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA
    )
    picture: Any = cv2.resize(half, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    levels = np.sort(picture, axis=None)
    cut = int(_TRIM * levels.size)
    inside = cv2.countNonZero(cv2.inRange(half, _BLACK + 1, _WHITE - 1))
    detail = float(cv2.meanStdDev(cv2.Laplacian(half, cv2.CV_16S))[1][0, 0]) ** 2
    contrast = float(cv2.meanStdDev(half)[1][0, 0]) ** 2
    return Appearance(
        level=float(levels[cut : levels.size - cut].mean()),
        saturation=1.0 - inside / half.size,
        sharpness=math.log((detail + 1.0) / (contrast + 1.0)),  # a flat frame has neither
        picture=picture,
    )


def _offset(picture: npt.ArrayLike, reference: npt.NDArray[np.float32]) -> float:
    import cv2

    window: Any = cv2.createHanningWindow((SIDE, SIDE), cv2.CV_32F)
    (dx, dy), _ = cv2.phaseCorrelate(reference, np.asarray(picture, np.float32), window)
    return math.hypot(dx, dy) / SIDE


def _decoded(picture: str) -> Picture:
    try:
        content = base64.b64decode(picture, validate=True)
        return np.frombuffer(content, np.uint8).reshape(SIDE, SIDE)
    except (binascii.Error, ValueError):
        raise InputError("drift reference: its picture is damaged: calibrate again") from None


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)
