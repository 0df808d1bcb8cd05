"""The thread that turns judged frames into committed verdicts about parts.

It is not the engine's thread: writing to a disk must not hold up inference, and a verdict that is
due must not wait for an engine that hangs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from zsad.images import frame_sha256
from zsad.inspection.parts import Part, PartCollator
from zsad.line.accounts import Accounts
from zsad.line.clock import SYSTEM, Clock
from zsad.line.drafts import Drafts
from zsad.line.evidence import Doubts, Evidence, believed
from zsad.line.inbox import Begun, Done, Expected, Finish, Inbox, Message, Withdrawn
from zsad.line.judge import Taken, silent_view
from zsad.line.latency import Latencies
from zsad.line.monitor import Monitor
from zsad.line.record import VerdictRecord
from zsad.line.scribe import Commit, Scribe

_LONGEST_S, _SHORTEST_S = 1.0, 0.001
_STOPPED = "the line was stopped"


class Recorder:
    """Collates what was judged and concludes what is due; `run` is the work of its thread.

    Attributes:
        inbox: Where other threads leave what is to be recorded.
        doubts: Told of an engine that was found wrong. What it said of parts that nobody was told
            of yet then counts for nothing.
    """

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
        self.doubts = Doubts()
        self.inbox = Inbox(clock.monotonic_s, lambda: self.doubts.era)
        drafts = Drafts(line, clock, takt_ms, dry_run)
        self._scribe = Scribe(drafts, commit, accounts, monitor, latencies, clock, seen)
        self._collator = collator
        self._accounts = accounts
        self._clock = clock
        self._takt_ms = takt_ms
        self._pending: dict[int, Taken] = {}
        # By identity: the collator keeps the very views that it was given.
        self._evidence: dict[int, Evidence] = {}

    def run(self) -> None:
        """Record until the inbox says that it is finished."""
        going = True
        while going:
            going = self._handle(self.inbox.get(self._idle_s()))
            self._conclude_due()
        self._give_up(_STOPPED, list(self._pending.values()))
        self._conclude_due()
        self._conclude([self._cut_off(part) for part in self._collator.due(float("inf"))])

    @property
    def refusal(self) -> str | None:
        """Why a verdict could not be committed just now; any thread may ask."""
        return self._scribe.refusal

    def acknowledged(self, sink: str, record: VerdictRecord, at_s: float) -> None:
        """A sink acknowledged a verdict; any thread may say so."""
        self._scribe.acknowledged(sink, record, at_s)

    def _idle_s(self) -> float:
        """Return how long nothing is due, unless something comes."""
        deadlines_s = [self._collator.next_deadline_s]
        if self._takt_ms is not None and self._pending:
            oldest_s = min(taken.frame.captured_s for taken in self._pending.values())
            deadlines_s.append(oldest_s + self._takt_ms / 1e3)
        next_s = min((each for each in deadlines_s if each is not None), default=float("inf"))
        return min(_LONGEST_S, max(_SHORTEST_S, next_s - self._clock.monotonic_s()))

    def _cut_off(self, part: Part) -> Part:
        """Return a part that ends now, its deadline not reached."""
        reason = _STOPPED if part.verdict == "NO_RESULT" else None
        return replace(part, decided_s=self._clock.monotonic_s(), reason=reason, overdue=False)

    def _handle(self, message: Message | None) -> bool:
        if isinstance(message, Begun):
            self._pending.update((taken.ticket.number, taken) for taken in message.taken)
        elif isinstance(message, Done):
            self._give_up_late(self._clock.monotonic_s())  # this answer too may come too late
            self._add(message)
        elif isinstance(message, Expected):
            if not self._collator.expect(message.trigger, message.triggered_s):
                self.inbox.ended(message.trigger, message.triggered_s)
        elif isinstance(message, Withdrawn):
            self._collator.withdraw(message.trigger)
        return not isinstance(message, Finish)

    def _add(self, done: Done) -> None:
        for one in done.judged:
            # A frame that is no longer pending had its NO_RESULT when its time was over.
            if self._pending.pop(one.taken.ticket.number, None) is not None:
                self._collate(Evidence(one.view, one.taken, one.result, one.settled, done.era))

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
            self.inbox.ended(part.name, part.opened_s)
            evidence = [self._evidence.pop(id(view)) for view in part.views]
            self._scribe.record(*believed(part, evidence, self.doubts))


def _age_ms(taken: Taken, now_s: float) -> float:
    return (now_s - taken.frame.captured_s) * 1e3
