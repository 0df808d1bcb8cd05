"""A source that is read by a child process, which is killed when it hangs."""

from __future__ import annotations

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
# Isolated (-I), or the working directory would come first on the path, and any file in it that is
# named as a module would be run.
_CHILD = (
    "import sys; sys.path[:] = sys.argv[1:]; from zsad.sources.isolated_child import main; main()"
)


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
        child = ChildPipe([sys.executable, "-I", "-c", _CHILD, *filter(None, sys.path)])
        # Not an argument: everybody sees those, and the address may hold a password.
        child.send(canonical_bytes(self._config).decode())
        return WireStream(child, to_reading, self._config.open_timeout_s + _START_S, closing)


def to_reading(frame: dict[str, Any], pixels: bytearray) -> Reading:
    """Return what a child sent as a reading."""
    image = np.frombuffer(pixels, np.uint8).reshape(frame["shape"]) if pixels else None
    return Reading(image, frame["captured_s"], frame["decoded_s"], frame["error"], frame["name"])
