"""A live camera: the newest frame wins, and a silent camera is noticed.

A loop that reads and judges in turn falls behind a camera that is faster than the model, and ends
up judging frames that are many seconds old. So a thread of its own reads without pause into a
mailbox with one slot.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from zsad.errors import InputError
from zsad.sources.base import Frame, StopRequest, mask_credentials
from zsad.sources.mailbox import Mailbox
from zsad.types import ImageU8

OPEN_TIMEOUT_S = 10.0
_POLL_S = 0.1
_RETRY_S = 0.05

Opener = Callable[[str, float], Any]
"""Opens a capture: (camera number, device path or URL; time-out in seconds) to an object with the
`isOpened`, `read` and `release` of `cv2.VideoCapture`."""


class LiveSource:
    """A camera by number, device path or URL, read by a thread into a one-slot mailbox."""

    total: int | None = None

    def __init__(
        self, address: str, stall_s: float = 10.0, open_capture: Opener | None = None
    ) -> None:
        """Name the camera; it is opened when `frames` is first asked for one.

        Args:
            address: A camera's number, a `/dev/...` path or a URL.
            stall_s: Seconds without a good frame after which the source is given up.
            open_capture: Replaces OpenCV in tests and for other camera libraries.
        """
        self.name = mask_credentials(address)
        self._address = address
        self._stall_s = stall_s
        self._open = open_capture or _open_capture
        self._mailbox: Mailbox[Frame] = Mailbox()
        self._closing = threading.Event()
        self._failure: str | None = None
        self._last_good_s = time.monotonic()
        self._ever_good = False
        self._thread: threading.Thread | None = None

    @property
    def captured(self) -> int:
        """Frames read so far."""
        return self._mailbox.counts[0]

    @property
    def dropped(self) -> int:
        """Frames that a newer one displaced before anyone took them."""
        return self._mailbox.counts[1]

    @property
    def age_s(self) -> float:
        """Seconds since the last good frame, or since the opening began before the first one.

        This is the health of a camera: OpenCV's `isOpened` stays true while nothing comes.
        """
        return time.monotonic() - self._last_good_s

    def frames(self, stop: StopRequest) -> Iterator[Frame]:
        """Yield the newest frame each time, until `stop()` is true.

        Raises:
            InputError: The camera cannot be opened, or gave no frame for too long.
        """
        self._start()
        while not stop():
            frame = self._mailbox.take(_POLL_S)
            if frame is not None:
                yield frame
                continue
            if self._failure is not None:
                raise InputError(self._failure)
            # Opening has its own time-out; until it is over, silence means nothing.
            if self.age_s > self._stall_s + (0 if self._ever_good else OPEN_TIMEOUT_S):
                raise InputError(
                    f"source {self.name} gave no frame for {self.age_s:.1f} s: check camera, cable"
                    " and address"
                )

    def close(self) -> None:
        """Stop the thread and let go of the camera; closing twice does no harm."""
        self._closing.set()
        self._mailbox.close()
        if self._thread is not None:
            # A native read that hangs cannot be ended from here; hence the daemon thread.
            self._thread.join(timeout=2.0)

    def __enter__(self) -> LiveSource:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the thread and let go of the camera."""
        self.close()

    def _start(self) -> None:
        assert self._thread is None, "frames() was called before"
        self._last_good_s = time.monotonic()
        self._thread = threading.Thread(target=self._capture, name="capture", daemon=True)
        self._thread.start()

    def _capture(self) -> None:
        try:
            capture = self._open(self._address, OPEN_TIMEOUT_S)
        except Exception as error:  # nothing may end the thread without a word
            self._failure = f"source {self.name} cannot be opened: {_masked_line(error)}"
            return
        try:
            if capture.isOpened():
                self._read(capture)
            else:
                self._failure = f"source {self.name} cannot be opened: {_advice(self._address)}"
        except Exception as error:
            self._failure = f"source {self.name} failed: {_masked_line(error)}"
        finally:
            capture.release()

    def _read(self, capture: Any) -> None:
        number = 0
        while not self._closing.is_set():
            good, image = capture.read()
            if not good or image is None:
                self._closing.wait(_RETRY_S)
                continue
            self._last_good_s = time.monotonic()
            self._ever_good = True
            self._mailbox.put(Frame(str(number), _colour(image), None, self._last_good_s))
            number += 1


def _colour(image: ImageU8) -> ImageU8:
    # Some cameras give plain grey whatever they are asked for.
    if image.ndim == 2:
        image = image[..., None]
    return image.repeat(3, axis=2) if image.shape[2] == 1 else image


def _open_capture(address: str, timeout_s: float) -> Any:
    import cv2

    if "://" not in address:
        device = int(address) if address.isdecimal() else address
        return cv2.VideoCapture(device, cv2.CAP_V4L2)
    # FFmpeg prefers UDP, which loses packets and passes no firewall. OpenCV reads this at opening.
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    timeout_ms = round(timeout_s * 1000)
    # Time-outs take effect only here, with the back end named; `set` after opening is too late.
    options = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        timeout_ms,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        timeout_ms,
    ]
    return cv2.VideoCapture(address, cv2.CAP_FFMPEG, options)


def _advice(address: str) -> str:
    if "://" in address:
        return "check address, user, password and network"
    return "check that the camera is there and yours to read: ls -l /dev/v4l/by-id; zsad-doctor"


def _masked_line(error: Exception) -> str:
    return mask_credentials(" ".join(str(error).split())) or type(error).__name__
