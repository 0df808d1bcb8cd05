"""USB and other V4L2 cameras: found by a name that lasts, locked, and read back."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zsad.sources.config import CameraConfig, ControlsConfig
from zsad.sources.health import Cause
from zsad.sources.opencv import OpenCvStream, describe
from zsad.sources.stream import StreamError

LOG = logging.getLogger(__name__)

BY_ID = Path("/dev/v4l/by-id")

_SELECT_TIMEOUT = "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"
_MANUAL_EXPOSURE = 1  # V4L2_EXPOSURE_MANUAL
_EXPOSURE_UNIT_US = 100.0
_TOLERANCE = 0.05

_CAUSES = {
    errno.ENOENT: (Cause.NOT_FOUND, "there is no such device: ls -l /dev/v4l/by-id"),
    errno.ENODEV: (Cause.NOT_FOUND, "the device is gone"),
    errno.ENXIO: (Cause.NOT_FOUND, "the device is gone"),
    errno.EACCES: (Cause.AUTH, "it is not yours to read: sudo usermod -aG video $USER"),
    errno.EBUSY: (Cause.REFUSED, "another program has it: sudo fuser -v it"),
}


def device_path(source: str) -> Path:
    """Return the device of a number or a path."""
    return Path(f"/dev/video{source}") if source.isdecimal() else Path(source)


def lasting_name(device: Path, by_id: Path = BY_ID) -> Path | None:
    """Return the link below `by_id` that leads to the device now, if there is one."""
    if not by_id.is_dir():
        return None
    links = (link for link in sorted(by_id.iterdir()) if link.resolve() == device.resolve())
    return next(links, None)


class V4l2Opener:
    """Opens a V4L2 device and locks what the configuration says."""

    def __init__(
        self, config: CameraConfig, open_capture: Callable[[str], Any] | None = None
    ) -> None:
        """Warn where the address does not survive replugging.

        Args:
            config: The camera.
            open_capture: Replaces OpenCV in tests.
        """
        self._config = config
        self._device = device_path(config.source)
        self._open_capture = open_capture or _open_capture
        if self._device.name.startswith("video") and self._device.parent == Path("/dev"):
            better = lasting_name(self._device)
            LOG.warning(
                "camera %s: %s may be another camera after the next plug or boot: use %s",
                config.name,
                self._device,
                better or f"its link below {BY_ID}",
            )

    def open(self, closing: threading.Event) -> OpenCvStream:
        """Open the device, set its size, rate and controls, and read them back.

        Raises:
            StreamError: It is missing, not ours to read, busy, or no camera.
        """
        self._check()
        # OpenCV's only time-out for V4L2, in whole seconds; 10 without it.
        os.environ.setdefault(_SELECT_TIMEOUT, str(max(1, round(self._config.patience_s))))
        capture = self._open_capture(str(self._device))
        if not capture.isOpened():
            capture.release()
            raise StreamError(Cause.CODEC, f"{self._device} is no camera that OpenCV can read")
        shape(capture, self._config)
        problems = tuple(lock(capture, self._config.controls))
        for problem in problems:
            LOG.warning("camera %s: %s", self._config.name, problem)
        reason = "V4L2, as the address is a device" + locked_text(self._config.controls, problems)
        return OpenCvStream(capture, describe(capture, reason), self._config.patience_s, self._gone)

    def _check(self) -> None:
        # OpenCV says only that it did not open; the kernel says why.
        try:
            os.close(os.open(self._device, os.O_RDWR | os.O_NONBLOCK))
        except OSError as error:
            cause, advice = _CAUSES.get(
                error.errno or 0, (Cause.FAILED, os.strerror(error.errno or 0))
            )
            raise StreamError(cause, f"{self._device}: {advice}") from None

    def _gone(self) -> StreamError:
        try:
            self._check()
        except StreamError as error:
            return error
        return StreamError(Cause.FAILED, f"{self._device} stopped giving frames")


def shape(capture: Any, config: CameraConfig) -> None:
    """Ask for format, size and rate; what the camera made of it is in its line at the start."""
    import cv2

    code = None if config.pixel_format is None else cv2.VideoWriter.fourcc(*config.pixel_format)
    # The format first: it decides which sizes and rates there are.
    wanted: tuple[tuple[int, float | None], ...] = (
        (cv2.CAP_PROP_FOURCC, code),
        (cv2.CAP_PROP_FRAME_WIDTH, config.width),
        (cv2.CAP_PROP_FRAME_HEIGHT, config.height),
        (cv2.CAP_PROP_FPS, config.rate_hz),
    )
    for which, value in wanted:
        if value is not None:
            capture.set(which, value)


def lock(capture: Any, controls: ControlsConfig) -> Iterator[str]:
    """Lock exposure, gain and white balance; yield a line for each that does not hold."""
    import cv2

    if controls.exposure_us is not None:
        units = max(1.0, controls.exposure_us / _EXPOSURE_UNIT_US)
        capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE)
        yield from _set(capture, cv2.CAP_PROP_EXPOSURE, units, "exposure in 100 us")
    if controls.gain is not None:
        yield from _set(capture, cv2.CAP_PROP_GAIN, controls.gain, "gain")
    if controls.white_balance_k is not None:
        yield from _set(capture, cv2.CAP_PROP_AUTO_WB, 0, "automatic white balance")
        if controls.white_balance_k:
            kelvin = controls.white_balance_k
            yield from _set(capture, cv2.CAP_PROP_WB_TEMPERATURE, kelvin, "white balance in K")


def locked_text(controls: ControlsConfig, problems: tuple[str, ...]) -> str:
    """Return what of the controls holds, for the line at the start."""
    if not controls.asked:
        return ""
    state = "not all hold" if problems else "read back"
    return f"; locked: {', '.join(controls.asked)}, {state}"


def _set(capture: Any, which: int, value: float, name: str) -> Iterator[str]:
    accepted = capture.set(which, value)
    found = float(capture.get(which))
    if not accepted or abs(found - value) > max(_TOLERANCE * abs(value), 0.5):
        yield f"{name} was set to {value:g}, and reads {found:g}"


def _open_capture(device: str) -> Any:
    import cv2

    return cv2.VideoCapture(device, cv2.CAP_V4L2)
