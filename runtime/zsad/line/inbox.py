"""What other threads leave for the recorder: frames, answers, and triggers from outside."""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zsad.line.judge import Judged, Taken
from zsad.line.triggers import OpenTriggers

LOG = logging.getLogger(__name__)

_LENGTH = 64


@dataclass(frozen=True)
class Begun:
    """Frames that are about to be judged."""

    taken: tuple[Taken, ...]


@dataclass(frozen=True)
class Done:
    """Frames that were judged, and how many engines had been found wrong by then."""

    judged: tuple[Judged, ...]
    era: int


@dataclass(frozen=True)
class Expected:
    """A part that was triggered at a moment of the monotonic clock."""

    trigger: str
    triggered_s: float


@dataclass(frozen=True)
class Withdrawn:
    """A part that was triggered for nothing."""

    trigger: str


@dataclass(frozen=True)
class Finish:
    """Nothing comes after this."""


Message = Begun | Done | Expected | Withdrawn | Finish


class Inbox:
    """A bounded queue, and the triggers whose parts are open; any thread may leave something.

    The engine waits while it is full; a trigger never does.
    """

    def __init__(self, now_s: Callable[[], float], era: Callable[[], int]) -> None:
        """Begin empty.

        Args:
            now_s: The monotonic clock.
            era: How many engines were found wrong so far.
        """
        self._now_s = now_s
        self._era = era
        self._messages: queue.Queue[Message] = queue.Queue(_LENGTH)
        self._triggers = OpenTriggers()

    def get(self, timeout_s: float) -> Message | None:
        """Return the next message; None where none comes in time."""
        with contextlib.suppress(queue.Empty):
            return self._messages.get(timeout=timeout_s)
        return None

    def begun(self, taken: Sequence[Taken]) -> None:
        """Expect a verdict on these frames by their deadline; waits while the queue is full."""
        self._messages.put(Begun(tuple(taken)))

    def judged(self, judged: Sequence[Judged]) -> None:
        """Take what was found of frames that were begun; waits while the queue is full.

        The engine's thread calls it, so that a doubt which it has later is about these, too.
        """
        self._messages.put(Done(tuple(judged), self._era()))

    def expect(self, trigger: str) -> float | None:
        """Begin a part, so that it gets its verdict even if no frame ever shows it.

        It never waits.

        Returns:
            When it was begun, on the monotonic clock; None where it was not, since a part of this
            id has no verdict yet, or too much is waiting to be recorded.
        """
        now_s = self._now_s()
        if not self._triggers.begin(trigger, now_s):
            LOG.warning("trigger %s came again before its verdict: refused", trigger)
            return None
        if not self._leave(Expected(trigger, now_s)):
            LOG.error("trigger %s came while the recorder was behind: not begun", trigger)
            self._triggers.end(trigger, now_s)
            return None
        return now_s

    def withdraw(self, trigger: str, begun_s: float) -> None:
        """Take back a part that no camera was asked for; one that cannot be gets its NO_RESULT."""
        if self._leave(Withdrawn(trigger)):
            self._triggers.end(trigger, begun_s)

    def ended(self, trigger: str, begun_s: float) -> None:
        """Let a trigger come again: the part that was begun at this moment has its verdict."""
        self._triggers.end(trigger, begun_s)

    def finish(self, timeout_s: float) -> None:
        """Ask the recorder to conclude what it has and to end; nothing may come after this."""
        try:
            self._messages.put(Finish(), timeout=timeout_s)
        except queue.Full:
            LOG.error("the recorder takes nothing any more: what it has is not recorded")

    def _leave(self, message: Message) -> bool:
        try:
            self._messages.put_nowait(message)
        except queue.Full:
            return False
        return True
