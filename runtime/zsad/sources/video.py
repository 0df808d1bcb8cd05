"""Every frame of a video file, however long judging takes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from zsad.errors import InputError
from zsad.sources.base import Frame, StopRequest
from zsad.sources.config import CameraConfig
from zsad.sources.health import Cause
from zsad.sources.opencv import describe
from zsad.sources.stream import Reading, StreamError

LOG = logging.getLogger(__name__)

_SHORT = 0.95
"""A container's frame count is an estimate; only an end well before it is worth a warning."""


class VideoStream:
    """A video file, decoded by OpenCV's FFmpeg."""

    paced = False  # it comes when it is read
    rate_hz: float | None = None

    def __init__(self, path: str | Path) -> None:
        """Open the file.

        Raises:
            StreamError: It is missing, or no video.
        """
        import cv2

        if not Path(path).is_file():
            raise StreamError(Cause.NOT_FOUND, f"there is no video file {path}")
        self._path = str(path)
        self._count = 0
        self._capture: Any = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise StreamError(
                Cause.CODEC,
                f"{path} is not a video that OpenCV can read: convert it, for example with"
                " ffmpeg -i FILE out.mp4, or use --images for pictures",
            )
        frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total: int | None = frames if frames > 0 else None
        self.backing = describe(self._capture, "the address is a file; every frame is read")

    def read(self, timeout_s: float) -> Reading | None:
        """Return the next frame.

        Raises:
            StreamError: The file is over, or not one frame could be decoded.
        """
        good, image = self._capture.read()
        now_s = time.monotonic()
        if good:
            self._count += 1
            return Reading(image, now_s, now_s)
        if self._count == 0:
            raise StreamError(
                Cause.CODEC, f"{self._path} opens, but no frame of it can be decoded: convert it"
            )
        if self.total is not None and self._count < _SHORT * self.total:
            LOG.warning(
                "%s ended after %d of about %d frames: it may be damaged",
                self._path,
                self._count,
                self.total,
            )
        raise StreamError(Cause.END_OF_FILE, f"{self._path} is over")

    def interrupt(self) -> None:
        """Do nothing: a file's read is short."""

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        self._capture.release()


class VideoOpener:
    """Opens a video file."""

    def __init__(self, config: CameraConfig) -> None:
        """Prepare; nothing is opened yet."""
        self._path = config.source

    def open(self, closing: threading.Event) -> VideoStream:
        """Open the file.

        Raises:
            StreamError: It is missing, or no video.
        """
        return VideoStream(self._path)


class VideoSource:
    """A video file, judged at the speed of the model. No frame is dropped."""

    dropped = 0

    def __init__(self, path: str | Path) -> None:
        """Open the file.

        Raises:
            InputError: It cannot be opened as a video.
        """
        self.name = str(path)
        self.captured = 0
        try:
            self._stream = VideoStream(path)
        except StreamError as error:
            raise InputError(error.detail) from None
        self.total: int | None = self._stream.total

    def frames(self, stop: StopRequest) -> Iterator[Frame]:
        """Yield every frame until the file ends, or until `stop()` is true.

        Raises:
            InputError: Not one frame could be decoded.
        """
        while not stop():
            try:
                reading = self._stream.read(0)
            except StreamError as error:
                if error.cause is Cause.END_OF_FILE:
                    return
                raise InputError(error.detail) from None
            assert reading is not None, "a file always answers"
            number, self.captured = self.captured, self.captured + 1
            yield Frame(
                str(number),
                reading.image_bgr,
                None,
                reading.captured_s,
                decoded_s=reading.decoded_s,
                number=number,
            )

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        self._stream.close()

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
