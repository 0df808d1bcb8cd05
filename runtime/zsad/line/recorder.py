"""The thread that turns judged frames into committed verdicts about parts.

It is not the engine's thread: writing to a disk must not hold up inference, and a verdict that is
due must not wait for an engine that hangs. Nobody is told of a verdict before it is committed.
"""

from __future__ import annotations

import queue
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from zsad.errors import ZsadError
from zsad.images import frame_sha256
from zsad.line.accounts import Accounts
from zsad.line.clock import Clock
from zsad.line.judge import Judged, Taken, silent_view
from zsad.line.latency import Latencies
from zsad.line.monitor import Monitor
from zsad.line.record import VerdictRecord, ViewRecord
from zsad.results import VerdictName

_TICK_S = 0.05
_QUEUE = 64
_REMEMBERED = 10_000


class FinishedPart(Protocol):
    """A part of which nothing more is expected."""

    @property
    def part(self) -> str:
        """Its trigger id, or its only frame's number."""

    @property
    def views(self) -> tuple[ViewRecord, ...]:
        """Its views, in the order in which they came."""

    @property
    def verdict(self) -> VerdictName:
        """The verdict about it."""

    @property
    def reason(self) -> str | None:
        """Why there is no result."""


class Collator(Protocol):
    """Puts views together into parts."""

    def add(self, view: ViewRecord, trigger: str | None, now_s: float) -> None:
        """Take a view."""

    def due(self, now_s: float) -> Sequence[FinishedPart]:
        """Return the parts that are complete, or whose time is over."""


@dataclass(frozen=True)
class Evidence:
    """A view's frame and answer, from which its pictures are made."""

    taken: Taken
    judged: Judged | None


Commit = Callable[[VerdictRecord, Sequence[Evidence]], VerdictRecord]
"""Makes a record durable and returns it with its number; raises a `ZsadError` where it cannot."""


@dataclass(frozen=True)
class Begun:
    """Frames whose judging begins."""

    taken: tuple[Taken, ...]


@dataclass(frozen=True)
class Done:
    """Frames whose judging is over."""

    judged: tuple[Judged, ...]


class Recorder:
    """Collates, commits and accounts; `run` is the work of its thread."""

    def __init__(
        self,
        line: str,
        collator: Collator,
        commit: Commit,
        accounts: Accounts,
        monitor: Monitor,
        latencies: Latencies,
        clock: Clock = Clock(),  # frozen
        takt_ms: float | None = None,
        dry_run: bool = False,
    ) -> None:
        """Join the parts; `takt_ms` is how long after its capture a frame must have a verdict."""
        self._line = line
        self._collator = collator
        self._commit = commit
        self._accounts = accounts
        self._monitor = monitor
        self._latencies = latencies
        self._clock = clock
        self._takt_ms = takt_ms
        self._dry_run = dry_run
        self._inbox: queue.Queue[Begun | Done | None] = queue.Queue(_QUEUE)
        self._pending: dict[int, Taken] = {}
        self._evidence: dict[tuple[str, str], list[Evidence]] = {}
        self._captured_s: OrderedDict[int, float] = OrderedDict()

    def begun(self, taken: Sequence[Taken]) -> None:
        """Expect a verdict on these frames by their deadline; waits while the queue is full."""
        self._inbox.put(Begun(tuple(taken)))

    def judged(self, judged: Sequence[Judged]) -> None:
        """Take what was found of frames that were begun; waits while the queue is full."""
        self._inbox.put(Done(tuple(judged)))

    def finish(self) -> None:
        """Ask it to conclude what it has and to end; nothing may come after this."""
        self._inbox.put(None)

    def run(self) -> None:
        """Record until `finish`."""
        while True:
            try:
                message = self._inbox.get(timeout=_TICK_S)
            except queue.Empty:
                self._conclude_due()
                continue
            if message is None:
                break
            if isinstance(message, Begun):
                self._pending.update((taken.ticket.number, taken) for taken in message.taken)
            else:
                self._add(message.judged)
            self._conclude_due()
        self._give_up("the line was stopped", list(self._pending.values()))
        self._conclude(self._collator.due(float("inf")))

    def acknowledged(self, sink: str, seq: int) -> None:
        """A sink acknowledged a verdict; any thread may say so."""
        captured_s = self._captured_s.get(seq)
        if captured_s is not None:
            spent_ms = (self._clock.monotonic_s() - captured_s) * 1e3
            self._latencies.add(f"acknowledged by {sink}", spent_ms)

    def _add(self, judged: Sequence[Judged]) -> None:
        for one in judged:
            # A frame that is no longer pending had its NO_RESULT when its time was over.
            if self._pending.pop(one.taken.ticket.number, None) is not None:
                self._collate(one.view, Evidence(one.taken, one))

    def _collate(self, view: ViewRecord, evidence: Evidence) -> None:
        image = evidence.taken.frame.image_bgr
        if image is not None:
            view = replace(view, frame_sha256=frame_sha256(image))
        self._evidence.setdefault((view.camera, view.frame), []).append(evidence)
        self._collator.add(view, evidence.taken.frame.trigger, self._clock.monotonic_s())

    def _conclude_due(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._takt_ms is not None:
            late = [t for t in self._pending.values() if _age_ms(t, now_s) >= self._takt_ms]
            self._give_up(f"no answer within the takt of {self._takt_ms:g} ms", late)
        self._conclude(self._collator.due(now_s))

    def _give_up(self, reason: str, frames: Sequence[Taken]) -> None:
        for taken in frames:
            del self._pending[taken.ticket.number]
            self._collate(silent_view(taken, reason), Evidence(taken, None))

    def _conclude(self, parts: Sequence[FinishedPart]) -> None:
        for part in parts:
            evidence = [self._evidence_of(view) for view in part.views]
            self._record(part, evidence)

    def _evidence_of(self, view: ViewRecord) -> Evidence:
        key = (view.camera, view.frame)
        waiting = self._evidence[key]
        found = waiting.pop(0)
        if not waiting:
            del self._evidence[key]
        return found

    def _record(self, part: FinishedPart, evidence: Sequence[Evidence]) -> None:
        decided_s = self._clock.monotonic_s()
        captured_s = min((e.taken.frame.captured_s for e in evidence), default=decided_s)
        spent_ms = (decided_s - captured_s) * 1e3
        record = VerdictRecord(
            seq=0,
            line=self._line,
            part=part.part,
            verdict=part.verdict,
            reason=part.reason,
            views=part.views,
            captured_utc=self._clock.utc_of(captured_s),
            decided_utc=self._clock.utc_of(decided_s),
            capture_to_verdict_ms=round(spent_ms, 3),
            dry_run=self._dry_run,
        )
        if self._takt_ms is not None and spent_ms >= self._takt_ms:
            self._monitor.overrun()
        try:
            committed = self._commit(record, evidence)
        except ZsadError as error:
            self._monitor.raise_condition("fault", "ledger", str(error))
            for one in evidence:
                self._accounts.dropped(one.taken.ticket, "uncommitted")
            return
        self._told(committed, captured_s, evidence)
        self._measure(part.views, spent_ms, decided_s)

    def _told(self, record: VerdictRecord, captured_s: float, evidence: Sequence[Evidence]) -> None:
        self._monitor.clear_condition("fault", "ledger")
        self._monitor.committed(record)
        self._captured_s[record.seq] = captured_s
        if len(self._captured_s) > _REMEMBERED:
            self._captured_s.popitem(last=False)
        for one in evidence:
            self._accounts.judged(one.taken.ticket)

    def _measure(self, views: Sequence[ViewRecord], spent_ms: float, decided_s: float) -> None:
        for view in views:
            for stage, duration_ms in stage_durations_ms(view).items():
                self._latencies.add(stage, duration_ms)
        self._latencies.add("capture to verdict", spent_ms)
        self._latencies.add("commit", (self._clock.monotonic_s() - decided_s) * 1e3)


_STAGES = {
    "decode": "decoded",
    "queue": "queued",
    "preprocess": "preprocessed",
    "infer": "inferred",
    "judge": "judged",
}


def stage_durations_ms(view: ViewRecord) -> dict[str, float]:
    """Return how long each stage of a view took: from the end of the one before it to its own."""
    durations_ms, before_ms = {}, 0.0
    for stage, end in _STAGES.items():
        if end in view.stages_ms:
            durations_ms[stage] = max(0.0, view.stages_ms[end] - before_ms)
            before_ms = view.stages_ms[end]
    return durations_ms


def _age_ms(taken: Taken, now_s: float) -> float:
    return (now_s - taken.frame.captured_s) * 1e3
