"""GigE Vision and USB3 Vision cameras through Aravis, in a child under the system's Python.

Aravis comes with the distribution, for the distribution's own Python; a virtual environment does
not see it. So the child is a script for that Python, and only frames cross over.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from zsad.errors import InputError
from zsad.sources.child import ChildPipe
from zsad.sources.config import CameraConfig
from zsad.sources.health import Cause
from zsad.sources.stream import Reading, StreamError
from zsad.sources.wire import WireStream
from zsad.types import ImageU8

LOG = logging.getLogger(__name__)

PYTHON = "/usr/bin/python3"

_SCRIPT = Path(__file__).with_name("genicam_child.py")
_START_S = 5.0
# OpenCV names a Bayer pattern by its second row; these aliases are named by the first, as GenICam.
_BAYER = {
    "BayerRG8": "COLOR_BayerRGGB2BGR",
    "BayerGB8": "COLOR_BayerGBRG2BGR",
    "BayerGR8": "COLOR_BayerGRBG2BGR",
    "BayerBG8": "COLOR_BayerBGGR2BGR",
}


class GenicamStream(WireStream):
    """Frames of a GenICam camera."""

    def __init__(self, child: ChildPipe, open_timeout_s: float, closing: threading.Event) -> None:
        """Wait until the child has opened the camera.

        Raises:
            StreamError: It could not.
        """
        super().__init__(child, to_reading, open_timeout_s, closing)


class TriggeredGenicamStream(GenicamStream):
    """Frames of a GenICam camera that waits for software triggers."""

    def fire(self) -> None:
        """Send the camera a software trigger."""
        self._child.send("trigger")


class GenicamOpener:
    """Opens `genicam:ID`, where ID is Aravis's device id, a serial number or an address."""

    def __init__(self, config: CameraConfig) -> None:
        """Check what the kind needs.

        Raises:
            InputError: There is no system Python, no id, or a colour temperature is asked for.
        """
        if not os.access(PYTHON, os.X_OK):
            raise InputError(
                f"camera {config.name} needs {PYTHON} with Aravis: apt-get install python3-gi"
                " gir1.2-aravis-0.8"
            )
        self._id = config.source.partition(":")[2]
        if not self._id:
            raise InputError(
                f"camera {config.name}: name the camera, as genicam:VENDOR-SERIAL or"
                " genicam:ADDRESS; arv-tool-0.8 lists them"
            )
        if config.controls.white_balance_k:
            raise InputError(
                f"camera {config.name}: GenICam knows no white balance in kelvin:"
                " white_balance_k 0 locks what it found"
            )
        self._config = config

    def open(self, closing: threading.Event) -> GenicamStream:
        """Start the child and wait until it has opened the camera.

        Raises:
            StreamError: It could not be opened.
        """
        child = ChildPipe([PYTHON, "-I", str(_SCRIPT)])
        controls = self._config.controls
        triggered = self._config.trigger == "software"
        order = {
            "id": self._id,
            "software_trigger": triggered,
            "pixel_format": self._config.pixel_format,
            "exposure_us": controls.exposure_us,
            "gain": controls.gain,
            "lock_white_balance": controls.white_balance_k is not None,
        }
        child.send(json.dumps(order))
        kind = TriggeredGenicamStream if triggered else GenicamStream
        stream = kind(child, self._config.open_timeout_s + _START_S, closing)
        for problem in stream.problems:
            LOG.warning("camera %s: %s", self._config.name, problem)
        return stream


def to_reading(frame: dict[str, Any], pixels: bytearray) -> Reading:
    """Return what the child sent as a reading in BGR.

    Raises:
        StreamError: The camera's pixel format is none that is known here.
    """
    if frame["error"] is not None:
        return Reading(None, frame["captured_s"], time.monotonic(), frame["error"])
    image = to_bgr(pixels, frame["height"], frame["width"], frame["pixel_format"])
    return Reading(image, frame["captured_s"], time.monotonic())


def to_bgr(pixels: bytes | bytearray, height: int, width: int, pixel_format: str) -> ImageU8:
    """Return raw pixels of a GenICam format as (H, W, 3) uint8 BGR.

    Raises:
        StreamError: The format is none that is known here, or there are too few pixels.
    """
    import cv2

    channels = 3 if pixel_format in ("RGB8", "BGR8") else 1
    flat = np.frombuffer(pixels, np.uint8)
    if flat.size < height * width * channels:
        raise StreamError(Cause.CODEC, f"{flat.size} bytes for {width}x{height} {pixel_format}")
    image = flat[: height * width * channels].reshape(height, width, channels)
    if pixel_format == "BGR8":
        return image
    if pixel_format == "RGB8":
        return np.ascontiguousarray(image[..., ::-1])
    if pixel_format == "Mono8":
        return image.repeat(3, axis=2)
    if pixel_format in _BAYER:
        bgr: Any = cv2.cvtColor(image, getattr(cv2, _BAYER[pixel_format]))
        return np.asarray(bgr, np.uint8)
    known = ", ".join(("Mono8", "RGB8", "BGR8", *_BAYER))
    raise StreamError(Cause.CODEC, f"pixel format {pixel_format}: set the camera to {known}")
