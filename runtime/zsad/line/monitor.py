"""What the line can promise at the moment, put together from all of its parts.

The state is worked out when somebody asks, from the asker's own thread: a part that hangs cannot
keep an old and better state alive.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal

from zsad.credentials import mask_credentials
from zsad.line.clock import SYSTEM, Clock
from zsad.line.latency import Latencies
from zsad.line.record import VerdictRecord
from zsad.line.status import Balance, LastVerdict, LineState, LineStatus, SinkHealth
from zsad.sources.health import Cause, SourceHealth, SourceState

LOG = logging.getLogger(__name__)

Severity = Literal["fault", "degraded", "alarm"]
_LEVEL: Mapping[Severity, int] = {
    "fault": logging.ERROR,
    "degraded": logging.WARNING,
    "alarm": logging.WARNING,
}

Healths = Mapping[str, Callable[[], SourceHealth]]
Deliveries = Mapping[str, Callable[[], SinkHealth]]


class Monitor:
    """Collects conditions and counts; any thread may call anything."""

    def __init__(
        self,
        line: str,
        cameras: Healths,
        latencies: Latencies,
        clock: Clock = SYSTEM,
        hang_s: float = 10.0,
    ) -> None:
        """Begin as `starting`.

        Args:
            line: The line's name.
            cameras: Gives the health of each camera.
            latencies: Where durations are counted.
            clock: The clocks.
            hang_s: An engine that is ready and made no progress for this long is a fault.
        """
        self._line = line
        self._cameras = cameras
        self._sinks: Deliveries = {}
        self._balances: Callable[[], Mapping[str, Balance]] = dict
        self._latencies = latencies
        self._clock = clock
        self._hang_s = hang_s
        self._lock = threading.Lock()
        self._conditions: dict[Severity, dict[str, str]] = {
            "fault": {},
            "degraded": {},
            "alarm": {},
        }
        self._verdicts: Counter[str] = Counter()
        self._last: tuple[VerdictRecord, float] | None = None
        self._heartbeat = 0
        self._beat_s = clock.monotonic_s()
        self._overruns = self._breaches = 0
        self._backend = ""
        self._ready = self._stopping = self._dead = False

    def deliver_to(self, sinks: Deliveries) -> None:
        """Name the sinks, which are opened after the monitor exists."""
        self._sinks = sinks

    def account_by(self, balances: Callable[[], Mapping[str, Balance]]) -> None:
        """Name who knows where frames went."""
        self._balances = balances

    def raise_condition(self, severity: Severity, key: str, reason: str) -> None:
        """Something is wrong until it is cleared; the log says when it begins and when it ends.

        Args:
            severity: What it does to the line's state.
            key: What is wrong; a second reason for the same replaces the first.
            reason: Why, in one line; credentials in it are masked.
        """
        reason = mask_credentials(reason)
        with self._lock:
            begins = key not in self._conditions[severity]
            self._conditions[severity][key] = reason
        if begins:
            LOG.log(_LEVEL[severity], "%s: %s", severity, reason)

    def clear_condition(self, severity: Severity, key: str) -> None:
        """It is over; nothing happens where it was not on."""
        with self._lock:
            reason = self._conditions[severity].pop(key, None)
        if reason is not None:
            LOG.info("%s is over: %s", severity, reason)

    def died(self, thread: str, error: BaseException) -> None:
        """A thread of the line ended by an exception, which nothing mends but a restart."""
        with self._lock:
            self._dead = True
        reason = f"thread {thread} died: {type(error).__name__}: {error}"
        self.raise_condition("fault", f"thread {thread}", " ".join(reason.split()))

    @property
    def is_whole(self) -> bool:
        """Whether every thread that began still lives."""
        with self._lock:
            return not self._dead

    def beat(self) -> None:
        """The engine made progress."""
        with self._lock:
            self._heartbeat += 1
            self._beat_s = self._clock.monotonic_s()

    @property
    def heartbeat(self) -> int:
        """Grows with the engine's progress."""
        with self._lock:
            return self._heartbeat

    def judged_by(self, backend: str) -> None:
        """Name what judges from now on."""
        with self._lock:
            self._backend = backend

    def ready(self) -> None:
        """The engine is warm and within parity."""
        with self._lock:
            self._ready = True
        self.beat()

    @property
    def is_ready(self) -> bool:
        """Whether the engine has become ready."""
        with self._lock:
            return self._ready

    def stopping(self) -> None:
        """The line was asked to stop."""
        with self._lock:
            self._stopping = True

    def committed(self, record: VerdictRecord) -> None:
        """A verdict is in the ledger."""
        with self._lock:
            self._verdicts[record.verdict] += 1
            self._last = (record, self._clock.monotonic_s())

    def breached(self, count: int) -> None:
        """The accounts of frames did not hold, for so many reasons."""
        with self._lock:
            self._breaches += count

    def overrun(self) -> None:
        """A part's verdict came after the takt deadline."""
        with self._lock:
            self._overruns += 1

    def status(self) -> LineStatus:
        """Return the line at this moment."""
        cameras = {name: health() for name, health in self._cameras.items()}
        sinks = {name: health() for name, health in self._sinks.items()}
        stages, accounts = self._latencies.histograms(), self._balances()
        with self._lock:
            state, reasons = self._state(cameras, sinks)
            return LineStatus(
                line=self._line,
                state=state,
                reasons=reasons,
                heartbeat=self._heartbeat,
                cameras=cameras,
                sinks=sinks,
                verdicts=dict(self._verdicts),
                overruns=self._overruns,
                stages=stages,
                last=self._last_verdict(),
                backend=self._backend,
                alarms=tuple(self._conditions["alarm"].values()),
                breaches=self._breaches,
                accounts=accounts,
            )

    def _last_verdict(self) -> LastVerdict | None:
        if self._last is None:
            return None
        record, committed_s = self._last
        age_s = self._clock.monotonic_s() - committed_s
        return LastVerdict(record.seq, record.part, record.verdict, age_s)

    def _state(
        self, cameras: Mapping[str, SourceHealth], sinks: Mapping[str, SinkHealth]
    ) -> tuple[LineState, tuple[str, ...]]:
        faults = [*self._conditions["fault"].values(), *self._hang()]
        waiting = [name for name, health in cameras.items() if _is_waiting(health)]
        down = {name: _camera_line(name, h) for name, h in cameras.items() if _is_down(h)}
        if cameras and len(down) == len(cameras):
            faults.append("no camera gives frames")
        mild = [
            *self._conditions["degraded"].values(),
            *self._conditions["alarm"].values(),
            *down.values(),
            *(f"sink {name}: {health.detail}" for name, health in sinks.items() if not health.up),
        ]
        reasons = (*faults, *mild)
        if self._stopping:
            return LineState.STOPPING, ("asked to stop", *reasons)
        if (faults and self._ready) or self._conditions["fault"]:
            return LineState.FAULT, reasons
        if not self._ready:
            return LineState.STARTING, ("the engine is being loaded", *reasons)
        if waiting:
            reasons = (*reasons, f"no frame yet from {', '.join(waiting)}")
        if waiting and not self._verdicts:
            return LineState.STARTING, reasons
        return (LineState.DEGRADED, reasons) if reasons else (LineState.RUNNING, ())

    def _hang(self) -> list[str]:
        silent_s = self._clock.monotonic_s() - self._beat_s
        if not self._ready or silent_s <= self._hang_s:
            return []
        return [f"the engine made no progress for {silent_s:.0f} s"]


def _is_waiting(health: SourceHealth) -> bool:
    return health.state is SourceState.CONNECTING and health.cause is None


def _is_down(health: SourceHealth) -> bool:
    if health.state is SourceState.LIVE or _is_waiting(health):
        return False
    return not (health.state is SourceState.ENDED and health.cause is Cause.END_OF_FILE)


def _camera_line(name: str, health: SourceHealth) -> str:
    cause = f" ({health.cause.value})" if health.cause is not None else ""
    detail = f": {health.detail}" if health.detail else ""
    return f"camera {name} is {health.state.value}{cause}{detail}"
