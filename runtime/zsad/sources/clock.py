"""Time as a camera sees it."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Time and waiting, replaced in tests."""

    def now_s(self) -> float:
        """Seconds of a clock that nobody sets."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait for the event; True if it came."""


class MonotonicClock:
    """The machine's own."""

    def now_s(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait for the event; True if it came."""
        return event.wait(timeout_s)
