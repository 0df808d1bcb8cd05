"""Every frame of a video file, however long judging takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from zsad.errors import InputError
from zsad.sources.base import Frame, StopRequest

LOG = logging.getLogger(__name__)

_SHORT = 0.95
"""A container's frame count is an estimate; only an end well before it is worth a warning."""


class VideoSource:
    """A video file, decoded by OpenCV's FFmpeg. No frame is dropped."""

    dropped = 0

    def __init__(self, path: str | Path) -> None:
        """Open the file.

        Raises:
            InputError: It cannot be opened as a video.
        """
        import cv2

        self.name = str(path)
        self.captured = 0
        self._capture: Any = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise InputError(
                f"{path} is not a video that OpenCV can read: convert it, for example with"
                " ffmpeg -i FILE out.mp4, or use --images for pictures"
            )
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total: int | None = count if count > 0 else None

    def frames(self, stop: StopRequest) -> Iterator[Frame]:
        """Yield every frame until the file ends, or until `stop()` is true.

        Raises:
            InputError: Not one frame could be decoded.
        """
        while not stop():
            good, image = self._capture.read()
            if not good:
                self._check_end()
                return
            self.captured += 1
            yield Frame(str(self.captured - 1), image, None, time.monotonic())

    def _check_end(self) -> None:
        if self.captured == 0:
            raise InputError(f"{self.name} opens, but no frame of it can be decoded: convert it")
        if self.total is not None and self.captured < _SHORT * self.total:
            LOG.warning(
                "%s ended after %d of about %d frames: it may be damaged",
                self.name,
                self.captured,
                self.total,
            )

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        self._capture.release()

    def __enter__(self) -> VideoSource:
        """Return itself; the file is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()
