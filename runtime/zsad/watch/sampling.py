"""Which frames of a camera count as a part each, since a rate per part counts no frame twice."""

from __future__ import annotations

import random

import numpy as np

from zsad.preprocess import check_frame
from zsad.types import ArrayBool, ImageU8
from zsad.watch.likeness import Thumbnail, thumbnail_of, unlikeness

LOOK_S = 0.2
"""Least seconds between two looks at a free-running camera: a thumbnail of 1080p costs 35 ms."""


class Sampling:
    """Chooses among the frames of one camera, in the order of their capture, for one thread."""

    def __init__(
        self, part_s: float | None = None, region: ArrayBool | None = None, views: int = 1
    ) -> None:
        """Begin with no frame.

        Args:
            part_s: See `DriftConfig.part_s`.
            region: Cells of the thumbnails to compare, see `zsad.watch.likeness.cells_of`.
            views: Frames that the camera takes of each triggered part.
        """
        self._part_s, self._region = part_s, region
        self._views, self._random = views, random.Random(0)
        self._trigger, self._view, self._chosen = "", views, 0
        self._looked_s: float | None = None
        self._first: tuple[tuple[int, ...], Thumbnail] | None = None

    def counts(self, frame_bgr: ImageU8, trigger: str | None, captured_s: float) -> bool:
        """Return whether a frame is the one that counts for its part.

        Args:
            frame_bgr: The frame, (H, W, 3) uint8 BGR.
            trigger: The trigger that it answers: one of the part's views counts, drawn at random,
                so that what counts is drawn from all views as the good frames were.
            captured_s: When it was captured, in seconds of the monotonic clock.

        Raises:
            InputError: It is no usable image.
        """
        if trigger is not None:
            return self._is_chosen(trigger)
        gap_s = LOOK_S if self._part_s is None else self._part_s
        if self._looked_s is not None and captured_s - self._looked_s < gap_s:
            return False
        self._looked_s = captured_s
        return self._part_s is not None or self._shows_another(frame_bgr)

    def _is_chosen(self, trigger: str) -> bool:
        # An id may come back for the next part.
        if trigger != self._trigger or self._view + 1 >= self._views:
            self._trigger, self._view = trigger, -1
            self._chosen = self._random.randrange(self._views)
        self._view += 1
        return self._view == self._chosen

    def _shows_another(self, frame_bgr: ImageU8) -> bool:
        # OpenCV refuses what numpy has flipped or turned without copying it.
        frame = np.ascontiguousarray(check_frame(frame_bgr))
        thumbnail = thumbnail_of(frame, self._region)
        # Against the first frame of the part: a chain of small changes would never end.
        before, self._first = self._first, (frame.shape, thumbnail)
        if before is None or before[0] != frame.shape or unlikeness(thumbnail, before[1]) > 1:
            return True
        self._first = before
        return False
