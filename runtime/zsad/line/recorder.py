"""The thread that turns judged frames into committed verdicts about parts.

It is not the engine's thread: writing to a disk must not hold up inference, and a verdict that is
due must not wait for an engine that hangs. Nobody is told of a verdict before it is committed.
"""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from zsad.errors import ZsadError
from zsad.images import frame_sha256
from zsad.inspection.debounce import Settled
from zsad.inspection.parts import Part, PartCollator
from zsad.line.accounts import Accounts
from zsad.line.clock import SYSTEM, Clock
from zsad.line.drafts import Drafts
from zsad.line.judge import Judged, Taken, silent_view
from zsad.line.latency import Captures, Latencies, stage_durations_ms
from zsad.line.monitor import Monitor
from zsad.line.record import VerdictRecord, ViewRecord
from zsad.line.triggers import OpenTriggers
from zsad.types import AnomalyResult

LOG = logging.getLogger(__name__)

_TICK_S = 0.05
_QUEUE = 64
_REMEMBERED = 10_000
_STOPPED = "the line was stopped"


@dataclass(frozen=True)
class Evidence:
    """A view, and the frame and answer that its pictures are made of."""

    view: ViewRecord
    taken: Taken
    result: AnomalyResult | None = None
    settled: Settled | None = None


Commit = Callable[[VerdictRecord, Sequence[Evidence]], VerdictRecord]
"""Makes a record durable and returns it with its number; raises a `ZsadError` where it cannot."""


@dataclass(frozen=True)
class _Begun:
    taken: tuple[Taken, ...]


@dataclass(frozen=True)
class _Done:
    judged: tuple[Judged, ...]


@dataclass(frozen=True)
class _Expected:
    trigger: str
    triggered_s: float


@dataclass(frozen=True)
class _Withdrawn:
    trigger: str


_Message = _Begun | _Done | _Expected | _Withdrawn | None


class Recorder:
    """Collates, commits and accounts; `run` is the work of its thread."""

    def __init__(
        self,
        line: str,
        collator: PartCollator,
        commit: Commit,
        accounts: Accounts,
        monitor: Monitor,
        latencies: Latencies,
        clock: Clock = SYSTEM,
        takt_ms: float | None = None,
        dry_run: bool = False,
        seen: Callable[[Evidence], None] = lambda evidence: None,
    ) -> None:
        """Join the parts.

        Args:
            line: The line's name.
            collator: Puts views together into parts.
            commit: Makes a record durable.
            accounts: Where frames are answered for.
            monitor: Told of verdicts and faults.
            latencies: Told how long everything took.
            clock: The clocks.
            takt_ms: How long after its capture a frame must have a verdict; None waits for ever.
            dry_run: Whether records say that they move nothing.
            seen: Given every view of a committed verdict, when that is already told.
        """
        self._drafts = Drafts(line, clock, takt_ms, dry_run)
        self._collator = collator
        self._commit = commit
        self._accounts = accounts
        self._monitor = monitor
        self._latencies = latencies
        self._clock = clock
        self._takt_ms = takt_ms
        self._seen = seen
        self._inbox: queue.Queue[_Message] = queue.Queue(_QUEUE)
        self._triggers = OpenTriggers()
        self._pending: dict[int, Taken] = {}
        # By identity: the collator keeps the very views that it was given.
        self._evidence: dict[int, Evidence] = {}
        self._captures = Captures(_REMEMBERED)

    def expect(self, trigger: str) -> float | None:
        """Begin a part, so that it gets its verdict even if no frame ever shows it.

        It never waits.

        Returns:
            When it was begun, on the monotonic clock; None where it was not, since a part of this
            id has no verdict yet, or too much is waiting to be recorded.
        """
        now_s = self._clock.monotonic_s()
        if not self._triggers.begin(trigger, now_s):
            LOG.warning("trigger %s came again before its verdict: refused", trigger)
            return None
        if not self._leave(_Expected(trigger, now_s)):
            LOG.error("trigger %s came while the recorder was behind: not begun", trigger)
            self._triggers.end(trigger, now_s)
            return None
        return now_s

    def withdraw(self, trigger: str, begun_s: float) -> None:
        """Take back a part that no camera was asked for; one that cannot be gets its NO_RESULT."""
        if self._leave(_Withdrawn(trigger)):
            self._triggers.end(trigger, begun_s)

    def _leave(self, message: _Message) -> bool:
        try:
            self._inbox.put_nowait(message)
        except queue.Full:
            return False
        return True

    def begun(self, taken: Sequence[Taken]) -> None:
        """Expect a verdict on these frames by their deadline; waits while the queue is full."""
        self._inbox.put(_Begun(tuple(taken)))

    def judged(self, judged: Sequence[Judged]) -> None:
        """Take what was found of frames that were begun; waits while the queue is full."""
        self._inbox.put(_Done(tuple(judged)))

    def finish(self, timeout_s: float) -> None:
        """Ask it to conclude what it has and to end; nothing may come after this."""
        try:
            self._inbox.put(None, timeout=timeout_s)
        except queue.Full:
            LOG.error("the recorder takes nothing any more: what it has is not recorded")

    def run(self) -> None:
        """Record until `finish`."""
        going = True
        while going:
            with contextlib.suppress(queue.Empty):
                going = self._handle(self._inbox.get(timeout=_TICK_S))
            self._conclude_due()
        self._give_up(_STOPPED, list(self._pending.values()))
        self._conclude_due()
        self._conclude([self._cut_off(part) for part in self._collator.due(float("inf"))])

    def _cut_off(self, part: Part) -> Part:
        """Return a part that ends now, its deadline not reached."""
        reason = _STOPPED if part.verdict == "NO_RESULT" else None
        return replace(part, decided_s=self._clock.monotonic_s(), reason=reason, overdue=False)

    def _handle(self, message: _Message) -> bool:
        if isinstance(message, _Begun):
            self._pending.update((taken.ticket.number, taken) for taken in message.taken)
        elif isinstance(message, _Done):
            self._give_up_late(self._clock.monotonic_s())  # this answer too may come too late
            self._add(message.judged)
        elif isinstance(message, _Expected):
            if not self._collator.expect(message.trigger, message.triggered_s):
                self._triggers.end(message.trigger, message.triggered_s)
        elif isinstance(message, _Withdrawn):
            self._collator.withdraw(message.trigger)
        return message is not None

    def acknowledged(self, sink: str, record: VerdictRecord, at_s: float) -> None:
        """A sink acknowledged a verdict; any thread may say so."""
        captured_s = self._captures.get(record.seq)
        if captured_s is not None:  # else it is an earlier run's, or very old
            self._latencies.add(f"acknowledged by {sink}", (at_s - captured_s) * 1e3)

    def _add(self, judged: Sequence[Judged]) -> None:
        for one in judged:
            # A frame that is no longer pending had its NO_RESULT when its time was over.
            if self._pending.pop(one.taken.ticket.number, None) is not None:
                self._collate(Evidence(one.view, one.taken, one.result, one.settled))

    def _collate(self, evidence: Evidence) -> None:
        frame, now_s = evidence.taken.frame, self._clock.monotonic_s()
        if frame.image_bgr is not None:
            view = replace(evidence.view, frame_sha256=frame_sha256(frame.image_bgr))
            evidence = replace(evidence, view=view)
        self._evidence[id(evidence.view)] = evidence
        if not self._collator.add(evidence.view, frame.trigger, now_s, frame.captured_s):
            del self._evidence[id(evidence.view)]
            self._accounts.dropped(evidence.taken.ticket, "late")

    def _conclude_due(self) -> None:
        now_s = self._clock.monotonic_s()
        self._give_up_late(now_s)
        self._conclude(self._collator.due(now_s))

    def _give_up_late(self, now_s: float) -> None:
        if self._takt_ms is not None:
            late = [t for t in self._pending.values() if _age_ms(t, now_s) >= self._takt_ms]
            self._give_up(f"no answer within the takt of {self._takt_ms:g} ms", late)

    def _give_up(self, reason: str, frames: Sequence[Taken]) -> None:
        for taken in frames:
            del self._pending[taken.ticket.number]
            self._collate(Evidence(silent_view(taken, reason), taken))

    def _conclude(self, parts: Sequence[Part]) -> None:
        for part in parts:
            self._triggers.end(part.name, part.opened_s)
            self._record(part, [self._evidence.pop(id(view)) for view in part.views])

    def _record(self, part: Part, evidence: Sequence[Evidence]) -> None:
        record = self._drafts.draft(part, evidence[0].settled if len(evidence) == 1 else None)
        if part.overdue or self._drafts.is_over(record.capture_to_verdict_ms):
            self._monitor.overrun()
        begin_s = self._clock.monotonic_s()
        try:
            committed = self._commit(record, evidence)
        except ZsadError as error:
            self._monitor.raise_condition("fault", "ledger", str(error))
            for one in evidence:
                self._accounts.dropped(one.taken.ticket, "uncommitted")
            return
        self._latencies.add("commit", (self._clock.monotonic_s() - begin_s) * 1e3)
        self._told(committed, part.opened_s, evidence)

    def _told(self, record: VerdictRecord, captured_s: float, evidence: Sequence[Evidence]) -> None:
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


def _age_ms(taken: Taken, now_s: float) -> float:
    return (now_s - taken.frame.captured_s) * 1e3
