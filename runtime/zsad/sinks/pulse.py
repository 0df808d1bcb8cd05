"""Whether the line may be believed at the moment: what every fail-safe rests on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from zsad.credentials import mask_credentials
from zsad.line.status import LineState, LineStatus
from zsad.sinks.base import StatusOf

_TRUSTED = (LineState.RUNNING, LineState.DEGRADED)
_CACHE_S = 0.05  # a PLC may ask a hundred times a second


@dataclass(frozen=True)
class Reading:
    """The line at one moment.

    Attributes:
        status: What the line says of itself; None where it says nothing.
        doubts: Why no verdict may be acted on, one line each; empty where one may.
        moving: Whether the engine's thread makes progress.
    """

    status: LineStatus | None
    doubts: tuple[str, ...]
    moving: bool

    @property
    def trusted(self) -> bool:
        """Whether a verdict may be acted on."""
        return not self.doubts


class Pulse:
    """Reads the line's state, and does not take its word for being alive.

    Progress is only seen between two reads, so whoever holds a pulse reads it several times a
    second, whether or not somebody asks.
    """

    def __init__(
        self, status: StatusOf, stale_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Watch `status`, which is stale after `stale_s` seconds without progress."""
        self._status = status
        self._stale_s = stale_s
        self._clock = clock
        self._lock = threading.Lock()
        self._heartbeat: int | None = None
        self._beat_s = clock()
        self._read_s = float("-inf")
        self._reading = Reading(None, ("the line has not said anything yet",), False)

    def read(self) -> Reading:
        """Return the line at this moment, at most 50 ms old."""
        with self._lock:
            if self._clock() - self._read_s < _CACHE_S:
                return self._reading
        try:
            status = self._status()
        except Exception as error:  # whatever it is, it says that nothing is known
            said = mask_credentials(" ".join(str(error).split())) or type(error).__name__
            return self._keep(Reading(None, (f"the line's state is unknown: {said}",), False))
        return self._keep(self._judge(status))

    def _keep(self, reading: Reading) -> Reading:
        with self._lock:
            self._read_s = self._clock()
            self._reading = reading
        return reading

    def _judge(self, status: LineStatus) -> Reading:
        with self._lock:
            now_s = self._clock()
            if status.heartbeat != self._heartbeat:
                self._heartbeat, self._beat_s = status.heartbeat, now_s
            still_s = now_s - self._beat_s
        moving = still_s <= self._stale_s
        if status.state not in _TRUSTED:
            return Reading(status, status.reasons or (f"the line is {status.state.value}",), moving)
        if not moving:
            return Reading(status, (f"the engine made no progress for {still_s:.1f} s",), False)
        return Reading(status, (), True)
