"""A source that is read by a child process, which is killed when it hangs."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import numpy as np

from zsad.schema import canonical_bytes
from zsad.sources.child import ChildPipe
from zsad.sources.config import CameraConfig
from zsad.sources.kinds import make_opener
from zsad.sources.stream import Reading
from zsad.sources.wire import WireStream

_START_S = 10.0
"""For the child's own start, on top of the time that opening may take."""


class IsolatedOpener:
    """Opens any kind of source in a child process; silence beyond the stall limit kills it."""

    def __init__(self, config: CameraConfig) -> None:
        """Check, in this process, that the child will have what it needs.

        Raises:
            InputError: A program that the kind of source needs is missing.
        """
        make_opener(config)
        self._config = config

    def open(self, closing: threading.Event) -> WireStream:
        """Start a child and wait until it has opened the source.

        Raises:
            StreamError: The child's own, or that it died or hung.
        """
        command = [sys.executable, "-m", "zsad.sources.isolated_child"]
        child = ChildPipe(command, {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)})
        # Not an argument: everybody sees those, and the address may hold a password.
        child.send(canonical_bytes(self._config).decode())
        return WireStream(child, to_reading, self._config.open_timeout_s + _START_S, closing)


def to_reading(frame: dict[str, Any], pixels: bytearray) -> Reading:
    """Return what a child sent as a reading."""
    image = np.frombuffer(pixels, np.uint8).reshape(frame["shape"]) if pixels else None
    return Reading(image, frame["captured_s"], frame["decoded_s"], frame["error"], frame["name"])
