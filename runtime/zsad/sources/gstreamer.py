"""GStreamer pipelines, and CSI cameras of a Jetson through one, in a child process.

PyPI's OpenCV has no GStreamer. A `gst-launch-1.0` child needs none, can be killed when a driver
hangs, and behaves alike on a laptop and on a Jetson. Each frame comes as a PPM picture, so that
its size is read off the stream and never assumed; the colours pass without loss.
"""

from __future__ import annotations

import re
import shlex
import shutil
import threading
import time
from typing import Any

import numpy as np

from zsad.errors import InputError
from zsad.preprocess import MAX_PIXELS
from zsad.sources.child import ChildPipe
from zsad.sources.config import CameraConfig
from zsad.sources.health import Cause
from zsad.sources.rtsp_probe import probe_rtsp
from zsad.sources.stream import Backing, Reading, StreamError

PROGRAM = "gst-launch-1.0"

_SINK = "videoconvert ! video/x-raw,format=RGB ! pnmenc ! fdsink fd=1 sync=false"
_HEADER = re.compile(rb"P6\s(?:#[^\n]*\n)*(\d+)\s+(\d+)\s+255\s")
_LONGEST_HEADER = 256
_PROBE_TIMEOUT_S = 2.0
_SLICE_S = 0.25
_RTSP_URL = re.compile(r"rtsps?://[^\s\"']+")

# GStreamer's own words for its error codes.
_CAUSES = (
    (r"unauthorized|not authorized|401|permission denied", Cause.AUTH),
    (r"connection refused|busy", Cause.REFUSED),
    (r"timeout|timed out", Cause.TIMEOUT),
    (r"not found|no such|cannot identify device|could not resolve|no cameras", Cause.NOT_FOUND),
    (r"cannot decode|no decoder|missing|not-negotiated|wrong type|text file", Cause.CODEC),
)


class GStreamerStream:
    """A running pipeline."""

    paced = True
    rate_hz: float | None = None

    def __init__(self, child: ChildPipe, backing: Backing, address: str) -> None:
        """Take over a child whose output begins with a picture."""
        self._child = child
        self._address = address
        self.backing = backing

    def read(self, timeout_s: float) -> Reading | None:
        """Return the next frame, or None if no whole one came within `timeout_s`.

        Raises:
            StreamError: The pipeline ended.
        """
        import cv2

        deadline_s = time.monotonic() + timeout_s
        while (size := header_size(self._child.buffer)) is None:
            left_s = deadline_s - time.monotonic()
            if self._child.ended:
                raise pipeline_error(self._child, self._address)
            if left_s <= 0:
                return None
            self._child.receive(left_s)
        begin, height, width = size
        end = begin + height * width * 3
        if not self._child.wait_for(end, max(0.0, deadline_s - time.monotonic())):
            if self._child.ended:
                raise pipeline_error(self._child, self._address)
            return None
        captured_s = time.monotonic()
        pixels = np.frombuffer(self._child.take(end), np.uint8, offset=begin)
        rgb: Any = pixels.reshape(height, width, 3)
        image_bgr: Any = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        return Reading(image_bgr, captured_s, time.monotonic())

    def interrupt(self) -> None:
        """Do nothing: a read waits for its time-out at most."""

    def close(self) -> None:
        """End the pipeline; closing twice does no harm."""
        self._child.kill()


class GStreamerOpener:
    """Starts the pipeline of a `gstreamer` or `csi` source."""

    def __init__(self, config: CameraConfig) -> None:
        """Check the program and complete the pipeline.

        Raises:
            InputError: gst-launch-1.0 is not installed, or the address is no pipeline.
        """
        if shutil.which(PROGRAM) is None:
            raise InputError(
                f"camera {config.name} needs {PROGRAM}, which is not installed: apt-get install"
                " gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
                " gstreamer1.0-plugins-bad"
            )
        self._config = config
        csi = config.resolved_kind == "csi"
        self._pipeline = csi_pipeline(config) if csi else config.source
        try:
            self._words = shlex.split(f"{self._pipeline} ! {_SINK}")
        except ValueError as error:
            raise InputError(f"camera {config.name}: its pipeline has a fault: {error}") from None

    def open(self, closing: threading.Event) -> GStreamerStream:
        """Start the pipeline and wait for its first picture.

        Raises:
            StreamError: It fails, or gives nothing in time.
        """
        child = ChildPipe([PROGRAM, "-q", *self._words])
        try:
            self._await_picture(child, closing)
        except BaseException:
            child.kill()
            raise
        reason = "a child process, since it can be killed and PyPI's OpenCV has no GStreamer"
        backing = Backing(PROGRAM, "decoder as in its pipeline", reason)
        return GStreamerStream(child, backing, self._config.source)

    def _await_picture(self, child: ChildPipe, closing: threading.Event) -> None:
        deadline_s = time.monotonic() + self._config.open_timeout_s
        while header_size(child.buffer) is None:
            left_s = deadline_s - time.monotonic()
            if child.ended:
                raise pipeline_error(child, self._config.source)
            if left_s <= 0 or closing.is_set():
                waited = f"{self._config.open_timeout_s:g} s"
                raise StreamError(Cause.NO_DATA, f"the pipeline gave no picture within {waited}")
            child.receive(min(left_s, _SLICE_S))


def header_size(buffer: bytearray) -> tuple[int, int, int] | None:
    """Return where the pixels of the picture at the start begin, its height and its width.

    None while its header is not whole.

    Raises:
        StreamError: It is no picture, or one of an impossible size.
    """
    match = _HEADER.match(buffer, 0, _LONGEST_HEADER)
    if match is None:
        if len(buffer) >= _LONGEST_HEADER:
            raise StreamError(Cause.CODEC, "the pipeline's output is no picture")
        return None
    width, height = int(match[1]), int(match[2])
    if not 0 < width * height <= MAX_PIXELS:
        raise StreamError(Cause.CODEC, f"the pipeline gives pictures of {width}x{height}")
    return match.end(), height, width


def pipeline_error(child: ChildPipe, address: str) -> StreamError:
    """Return why a pipeline ended, from its own words, and the server's where it is RTSP."""
    words, ending = child.last_words(), child.how_it_ended()
    if child.exit_code == 0:
        return StreamError(Cause.END_OF_FILE, "the pipeline is over")
    if not words:
        return StreamError(Cause.FAILED, f"the pipeline: {ending}")
    url = _RTSP_URL.search(address)
    asked = None if url is None else probe_rtsp(url[0], _PROBE_TIMEOUT_S)
    if isinstance(asked, StreamError):
        return asked
    first = next((line for line in words.splitlines() if "ERROR" in line), words.splitlines()[0])
    causes = (cause for pattern, cause in _CAUSES if re.search(pattern, words, re.IGNORECASE))
    return StreamError(next(causes, Cause.FAILED), first)


def csi_pipeline(config: CameraConfig) -> str:
    """Return the pipeline of a Jetson's CSI camera, `csi:NUMBER`, locked as configured.

    Raises:
        InputError: The number is none, or a colour temperature is asked for.
    """
    number, controls = config.source.partition(":")[2], config.controls
    if not number.isdecimal():
        raise InputError(f"camera {config.name}: {config.source} should be csi:NUMBER, as csi:0")
    if controls.white_balance_k:
        raise InputError(
            f"camera {config.name}: a CSI camera knows no white balance in kelvin:"
            " white_balance_k 0 locks what it found"
        )
    source = [f"nvarguscamerasrc sensor-id={number}"]
    if controls.exposure_us is not None:
        nanoseconds = round(controls.exposure_us * 1000)
        source.append(f'exposuretimerange="{nanoseconds} {nanoseconds}" aelock=true')
    if controls.gain is not None:
        source.append(f'gainrange="{controls.gain:g} {controls.gain:g}"')
    if controls.white_balance_k is not None:
        source.append("awblock=true")
    caps = ["video/x-raw(memory:NVMM)"]
    if config.width is not None:
        caps.append(f"width={config.width},height={config.height}")
    if config.rate_hz is not None:
        caps.append(f"framerate={round(config.rate_hz * 1000)}/1000")
    return f"{' '.join(source)} ! {','.join(caps)} ! nvvidconv ! video/x-raw,format=BGRx"
