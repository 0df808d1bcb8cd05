"""The state of the whole line at one moment: what health checks, metrics and a PLC are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from zsad.results import VerdictName
from zsad.sources.health import SourceHealth


class LineState(str, Enum):
    """What the line can promise at the moment."""

    STARTING = "starting"
    """Nothing was judged yet: engine loading, golden frames being replayed, cameras connecting."""
    RUNNING = "running"
    """Engine warm and within parity, every camera fresh, the ledger takes commits."""
    DEGRADED = "degraded"
    """Verdicts come, and something needs a person: a fallback backend, drift, a sink that is down.
    """
    FAULT = "fault"
    """No verdict can be trusted: everything is NO_RESULT until it is mended."""
    STOPPING = "stopping"
    """Asked to stop; what is in flight is finished, nothing new is begun."""


@dataclass(frozen=True)
class Histogram:
    """Durations by fixed buckets, as Prometheus counts them.

    Attributes:
        bounds_ms: Upper bounds, ascending, in ms; a last bucket without a bound follows them.
        counts: Durations per bucket (not cumulative), one more than there are bounds.
        sum_ms: Sum of all durations.
    """

    bounds_ms: tuple[float, ...]
    counts: tuple[int, ...]
    sum_ms: float


@dataclass(frozen=True)
class LastVerdict:
    """The newest committed verdict, and how old it is by the monotonic clock."""

    seq: int
    part: str
    verdict: VerdictName
    age_s: float


@dataclass(frozen=True)
class SinkHealth:
    """How one consumer of verdicts is doing.

    Attributes:
        up: Whether the last attempt to deliver succeeded.
        detail: One line for a person, secrets masked.
        backlog: Committed verdicts that it has not acknowledged.
        delivered: Verdicts it acknowledged since the start.
        parked: Verdicts it refused for good since the start; they are in the ledger alone.
    """

    up: bool
    detail: str
    backlog: int
    delivered: int
    parked: int = 0


@dataclass(frozen=True)
class Balance:
    """The account of one camera at one moment.

    Attributes:
        captured: Frames that the camera gave.
        judged: Frames that a committed verdict speaks of, NO_RESULT included.
        dropped: Frames without one, by reason.
        in_flight: Frames that wait in the camera or hold a ticket.
        taken: Frames that the camera says it handed over.
        tickets: Tickets that were given out.
    """

    captured: int = 0
    judged: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    in_flight: int = 0
    taken: int = 0
    tickets: int = 0

    @property
    def difference(self) -> int:
        """Frames that are missing from the right side; 0 where the account is right."""
        return self.captured - self.judged - sum(self.dropped.values()) - self.in_flight


@dataclass(frozen=True)
class LineStatus:
    """One moment of the line.

    Attributes:
        line: The line's name.
        state: What it can promise.
        reasons: Why it is not `running`, one line each, worst first; empty where it is.
        heartbeat: Grows with real progress of the engine's thread, and with nothing else.
        cameras: Health by camera.
        sinks: Health by sink.
        verdicts: Verdicts since the start, by name.
        overruns: Parts whose verdict came after the takt deadline.
        stages: Latency by stage, capture-to-acknowledged per sink included.
        last: The newest committed verdict; None before the first.
        backend: Backend and graph that judge at the moment.
        alarms: Drift and parity alarms that are on, one line each.
        breaches: How often the accounts of frames did not hold.
        accounts: Where the frames went, by camera.
    """

    line: str
    state: LineState
    reasons: tuple[str, ...]
    heartbeat: int
    cameras: Mapping[str, SourceHealth]
    sinks: Mapping[str, SinkHealth]
    verdicts: Mapping[str, int]
    overruns: int
    stages: Mapping[str, Histogram]
    last: LastVerdict | None
    backend: str
    alarms: tuple[str, ...] = field(default_factory=tuple)
    breaches: int = 0
    accounts: Mapping[str, Balance] = field(default_factory=dict)
