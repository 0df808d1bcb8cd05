"""Numbers the parts that good frames show, so that a part counts once however many show it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from zsad.types import ArrayBool, ArrayF32, ImageU8
from zsad.watch.likeness import Thumbnail, thumbnail_of, unlikeness_to_each


@dataclass
class _Known:
    """The first frame of each part among frames of one size, in arrays that grow by doubling."""

    count: int = 0
    parts: list[int] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    values: ArrayF32 = field(default_factory=lambda: np.empty((0, 0), np.float32))
    slopes: ArrayF32 = field(default_factory=lambda: np.empty((0, 2, 0), np.float32))

    def add(self, thumbnail: Thumbnail, part: int) -> None:
        if self.count == len(self.values):
            room = max(16, 2 * self.count)
            values = np.empty((room, thumbnail.values.size), np.float32)
            slopes = np.empty((room, 2, thumbnail.values.size), np.float32)
            if self.count:
                values[: self.count], slopes[: self.count] = self.values, self.slopes
            self.values, self.slopes = values, slopes
        self.values[self.count], self.slopes[self.count] = thumbnail.values, thumbnail.slopes
        self.parts.append(part)
        self.noise.append(thumbnail.noise)
        self.count += 1

    def unlikeness(self, thumbnail: Thumbnail) -> npt.NDArray[np.float64]:
        values, slopes = self.values[: self.count], self.slopes[: self.count]
        return unlikeness_to_each(thumbnail, values, slopes, self.noise)


class Parts:
    """Numbers parts as their frames come; a frame that repeats one gets its number."""

    def __init__(self, region: ArrayBool | None = None) -> None:
        """Know no part yet.

        Args:
            region: (THUMBNAIL, THUMBNAIL) bool, the cells to compare; None for all.
        """
        self._region = region
        self._known: dict[tuple[int, ...], _Known] = {}
        self.count = 0

    def number_of(self, frame_bgr: ImageU8) -> int:
        """Return the number of the part that a frame, (H, W, 3) uint8 BGR, shows, from 0."""
        thumbnail = thumbnail_of(frame_bgr, self._region)
        known = self._known.setdefault(frame_bgr.shape, _Known())
        if known.count:
            excess = known.unlikeness(thumbnail)
            nearest = int(excess.argmin())
            if excess[nearest] <= 1:
                return known.parts[nearest]
        known.add(thumbnail, self.count)
        self.count += 1
        return self.count - 1
