"""From finished parts to committed records: what is told of them, and their frames accounted for.

Nobody is told of a verdict before it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zsad.errors import ZsadError
from zsad.inspection.parts import Part
from zsad.line.accounts import Accounts
from zsad.line.clock import Clock
from zsad.line.drafts import Drafts
from zsad.line.evidence import Evidence
from zsad.line.latency import Captures, Latencies, stage_durations_ms
from zsad.line.monitor import Monitor
from zsad.line.record import VerdictRecord

_REMEMBERED = 10_000
_SHOWN_S = 1.0
"""A refused verdict is a fault for as long at least, so that whoever reads the state sees it."""

Commit = Callable[[VerdictRecord, Sequence[Evidence]], VerdictRecord]
"""Makes a record durable and returns it with its number; raises a `ZsadError` where it cannot."""


class Scribe:
    """Commits and accounts; it belongs to the recorder's thread."""

    def __init__(
        self,
        drafts: Drafts,
        commit: Commit,
        accounts: Accounts,
        monitor: Monitor,
        latencies: Latencies,
        clock: Clock,
        seen: Callable[[Evidence], None],
    ) -> None:
        """Join the parts; see `zsad.line.recorder.Recorder` for the arguments."""
        self._drafts = drafts
        self._commit = commit
        self._accounts = accounts
        self._monitor = monitor
        self._latencies = latencies
        self._clock = clock
        self._seen = seen
        self._captures = Captures(_REMEMBERED)
        self._refused: tuple[float, str] | None = None  # when, and why

    @property
    def refusal(self) -> str | None:
        """Why a verdict was refused just now; any thread may ask.

        The next one may be committed milliseconds later, and a PLC asks ten times a second.
        """
        refused = self._refused
        if refused is None or self._clock.monotonic_s() - refused[0] >= _SHOWN_S:
            return None
        return refused[1]

    def record(self, part: Part, evidence: Sequence[Evidence]) -> None:
        """Commit the verdict about a part, or say that it could not be."""
        record = self._drafts.draft(part, evidence[0].settled if len(evidence) == 1 else None)
        if part.overdue or self._drafts.is_over(record.capture_to_verdict_ms):
            self._monitor.overrun()
        begin_s = self._clock.monotonic_s()
        try:
            committed = self._commit(record, evidence)
        except ZsadError as error:
            self._refused = self._clock.monotonic_s(), str(error)
            self._monitor.raise_condition("fault", "ledger", str(error))
            for one in evidence:
                self._accounts.dropped(one.taken.ticket, "uncommitted")
            return
        self._latencies.add("commit", (self._clock.monotonic_s() - begin_s) * 1e3)
        self._told(committed, part.opened_s, evidence)

    def acknowledged(self, sink: str, record: VerdictRecord, at_s: float) -> None:
        """A sink acknowledged a verdict; any thread may say so."""
        captured_s = self._captures.get(record.seq)
        if captured_s is not None:  # else it is an earlier run's, or very old
            self._latencies.add(f"acknowledged by {sink}", (at_s - captured_s) * 1e3)

    def _told(self, record: VerdictRecord, captured_s: float, evidence: Sequence[Evidence]) -> None:
        if self.refusal is None:
            self._monitor.clear_condition("fault", "ledger")
        self._monitor.committed(record)
        self._captures.put(record.seq, captured_s)
        for one in evidence:
            self._accounts.judged(one.taken.ticket)
            for stage, duration_ms in stage_durations_ms(one.view).items():
                self._latencies.add(stage, duration_ms)
        self._latencies.add("capture to verdict", record.capture_to_verdict_ms)
        for one in evidence:
            self._seen(one)
