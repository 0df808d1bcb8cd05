"""The two clocks of the daemon: one that durations are measured on, one that people read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone


def _utc() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Clock:
    """Where the time comes from; tests put their own in.

    Attributes:
        monotonic_s: Never steps; every duration and every deadline is a difference of it.
        utc: The wall clock, which may step by hours; for display only.
    """

    monotonic_s: Callable[[], float] = time.monotonic
    utc: Callable[[], datetime] = _utc

    def utc_of(self, moment_s: float) -> str:
        """Return a moment of the monotonic clock as the wall clock would now name it, ISO 8601."""
        moment = self.utc() - timedelta(seconds=self.monotonic_s() - moment_s)
        return moment.isoformat(timespec="milliseconds")


SYSTEM = Clock()
