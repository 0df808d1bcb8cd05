"""What capture children and this process say to each other: a line of JSON, then pixels.

A child sends `{"opened": ...}` once, then `{"frame": ...}` each followed by its bytes, and at the
end `{"failure": ...}`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from zsad.sources.child import ChildPipe
from zsad.sources.health import Cause
from zsad.sources.stream import Backing, Reading, StreamError

_LONGEST_LINE = 1 << 16
_SLICE_S = 0.25

ToReading = Callable[[dict[str, Any], bytearray], Reading]
"""Makes a frame's description and bytes a reading."""


class WireStream:
    """Frames of a capture child."""

    def __init__(
        self,
        child: ChildPipe,
        to_reading: ToReading,
        open_timeout_s: float,
        closing: threading.Event,
    ) -> None:
        """Wait until the child has opened its source.

        Raises:
            StreamError: It says why it could not, dies, is silent for too long, or `closing` is
                set; the child is ended then.
        """
        self._child = child
        self._to_reading = to_reading
        self._line: dict[str, Any] | None = None
        try:
            opened = self._await_opened(time.monotonic() + open_timeout_s, closing)
        except BaseException:
            child.kill()
            raise
        self.backing = Backing(**opened["backing"])
        self.rate_hz: float | None = opened["rate_hz"]
        self.paced: bool = opened["paced"]
        self.problems: tuple[str, ...] = tuple(opened["problems"])

    def _await_opened(self, deadline_s: float, closing: threading.Event) -> dict[str, Any]:
        while (line := self._next_line(time.monotonic() + _SLICE_S)) is None:
            if closing.is_set() or time.monotonic() >= deadline_s:
                raise StreamError(Cause.TIMEOUT, "the capture process hangs while it opens")
        opened: dict[str, Any] = line["opened"]
        return opened

    def read(self, timeout_s: float) -> Reading | None:
        """Return the next frame, or None if no whole one came within `timeout_s`.

        Raises:
            StreamError: The child says why it ended, or died.
        """
        deadline_s = time.monotonic() + timeout_s
        if self._line is None:
            self._line = self._next_line(deadline_s)
        if self._line is None:
            return None
        frame: dict[str, Any] = self._line["frame"]
        if not self._child.wait_for(frame["bytes"], max(0.0, deadline_s - time.monotonic())):
            if self._child.ended:
                raise self._death()
            return None
        self._line = None
        return self._to_reading(frame, self._child.take(frame["bytes"]))

    def _next_line(self, deadline_s: float) -> dict[str, Any] | None:
        while (end := self._child.buffer.find(b"\n", 0, _LONGEST_LINE)) < 0:
            left_s = deadline_s - time.monotonic()
            if self._child.ended:
                raise self._death()
            if left_s <= 0:
                return None
            self._child.receive(left_s)
        line: dict[str, Any] = json.loads(self._child.take(end + 1))
        if failure := line.get("failure"):
            raise StreamError(Cause(failure["cause"]), failure["detail"])
        return line

    def _death(self) -> StreamError:
        words = self._child.last_words().splitlines()
        ending = f"the capture process: {self._child.how_it_ended()}"
        return StreamError(Cause.FAILED, f"{ending}: {words[-1]}" if words else ending)

    def interrupt(self) -> None:
        """Do nothing: a read waits for its time-out at most."""

    def close(self) -> None:
        """End the child; closing twice does no harm."""
        self._child.kill()
