"""The ledger's own clock, which no step of the wall clock can turn.

Age decides what is deleted, so a wall clock that jumps (no battery, a late NTP, a wrong hand) must
not age what is stored. While the daemon runs, the ledger's clock follows the monotonic clock. Over
a restart without a reboot it follows the clock of the boot, which is exact. Over a reboot there is
only the wall clock to ask: it counts backwards as nothing and forwards as one day at most.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

MAX_REBOOT_S = 86_400.0
"""What one reboot may age the ledger by; a longer one keeps things longer than configured."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clocks(Protocol):
    """The clocks of a machine."""

    def boot_id(self) -> str:
        """Return what tells this boot from every other."""

    def boot_s(self) -> float:
        """Return seconds since the boot, sleep included."""

    def wall_s(self) -> float:
        """Return seconds since 1970 by the wall clock."""


class MachineClocks:
    """The clocks of this machine."""

    def boot_id(self) -> str:
        """Return the kernel's id of this boot; empty where it has none."""
        try:
            return _BOOT_ID.read_text().strip()
        except OSError:
            return ""

    def boot_s(self) -> float:
        """Return seconds since the boot, sleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_s(self) -> float:
        """Return seconds since 1970 by the wall clock."""
        return time.time()


@dataclass(frozen=True)
class ClockReading:
    """All clocks at one moment; the newest one is kept in the ledger.

    Attributes:
        ledger_s: Seconds that the ledger has lived.
        boot_id: Which boot `boot_s` belongs to.
        boot_s: Seconds since that boot.
        wall_s: Seconds since 1970 by the wall clock.
    """

    ledger_s: float
    boot_id: str
    boot_s: float
    wall_s: float


class LedgerClock:
    """Seconds that the ledger has lived, as far as that can be known."""

    def __init__(self, clocks: Clocks, last: ClockReading | None) -> None:
        """Go on from the last reading that was kept; from zero without one."""
        self._clocks = clocks
        self._boot_id = clocks.boot_id()
        self._start_boot_s = clocks.boot_s()
        self._start_ledger_s = 0.0 if last is None else last.ledger_s + self._elapsed_s(last)

    def now_s(self) -> float:
        """Return the ledger's age in seconds; it never goes back."""
        return self._start_ledger_s + self._clocks.boot_s() - self._start_boot_s

    def reading(self) -> ClockReading:
        """Return what has to be kept for the clock to go on after a restart."""
        clocks = self._clocks
        return ClockReading(self.now_s(), self._boot_id, clocks.boot_s(), clocks.wall_s())

    def store(self, connection: sqlite3.Connection) -> ClockReading:
        """Keep a reading, in the caller's transaction, and return it."""
        reading = self.reading()
        connection.execute(
            "INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?, ?)",
            (reading.ledger_s, reading.boot_id, reading.boot_s, reading.wall_s),
        )
        return reading

    def utc(self) -> str:
        """Return the wall clock as ISO 8601 in UTC, for display only."""
        moment = datetime.fromtimestamp(self._clocks.wall_s(), timezone.utc)
        return moment.isoformat(timespec="milliseconds")

    def _elapsed_s(self, last: ClockReading) -> float:
        if last.boot_id and last.boot_id == self._boot_id:
            return max(0.0, self._start_boot_s - last.boot_s)
        return min(max(0.0, self._clocks.wall_s() - last.wall_s), MAX_REBOOT_S)


def last_reading(connection: sqlite3.Connection) -> ClockReading | None:
    """Return the newest reading that was kept; None before the first."""
    query = "SELECT ledger_s, boot_id, boot_s, wall_s FROM clock"
    found = connection.execute(query).fetchone()
    return None if found is None else ClockReading(*found)
