"""One sink's place in the outbox: what waits for it, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Sequence

from zsad.line.record import VerdictRecord
from zsad.sinks.base import OutboxLike, SinkCause, SinkError, committed_head

_BATCH = 32
_IDLE_S = 0.2
_STARVED_S = 3.0
"""How long an outbox may count verdicts and hand out none before that is trouble."""


class Place:
    """The verdicts that a sink has still to take, oldest first; its courier's thread alone asks."""

    def __init__(self, sink: str, outbox: OutboxLike) -> None:
        """Stand at the outbox; `register` makes the sink known to it."""
        self._sink = sink
        self._outbox = outbox
        self._waiting: list[VerdictRecord] = []  # of the outbox, not yet acknowledged
        self._next_seq = 1
        self._starved_s: float | None = None  # since when the outbox hands out nothing it counts

    def register(self) -> None:
        """Make the sink known.

        Raises:
            LedgerError: The outbox takes no new sink.
        """
        self._outbox.register(self._sink)
        self._next_seq = committed_head(self._outbox) + 1

    @property
    def waiting(self) -> Sequence[VerdictRecord]:
        """What was handed out and is not acknowledged."""
        return self._waiting

    def ask(self) -> Sequence[VerdictRecord]:
        """Return what waits; the outbox is asked again when all that it gave was taken.

        Raises:
            SinkError: It has counted verdicts for this sink for some time, and hands out none.
        """
        # A sink may take one at a time.
        self._waiting = self._waiting or self._handed_out()
        return self._waiting

    def forget(self) -> None:
        """Ask anew the next time: the outbox may have given some of them up."""
        self._waiting = []

    def acknowledge(self, count: int) -> Sequence[VerdictRecord]:
        """Keep that the sink has, or will never have, the first `count`; return them."""
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        if taken:
            self._outbox.acknowledge(self._sink, taken[-1].seq)
            self._next_seq = taken[-1].seq + 1
        return taken

    def backlog(self) -> int:
        """Return how many verdicts the sink has not acknowledged."""
        return self._outbox.backlog(self._sink)

    def wait_for_more(self) -> bool:
        """Wait a moment for the next verdict; whether there is one."""
        return self._outbox.wait_for(self._next_seq, _IDLE_S)

    def pass_over(self) -> None:
        """Wait for a later one: should the outbox never hand this one out, it would not wait."""
        self._next_seq += 1

    def _handed_out(self) -> list[VerdictRecord]:
        found = self._outbox.pending(self._sink, _BATCH)
        if found or not self._outbox.backlog(self._sink):
            self._starved_s = None
            return found
        now_s = time.monotonic()
        if self._starved_s is None:
            self._starved_s = now_s
        if now_s - self._starved_s > _STARVED_S:
            # Soon again: the sink itself is well, and its state is to be told meanwhile.
            detail = "the outbox hands out nothing of what waits in it"
            raise SinkError(SinkCause.FAILED, detail, retry_s=_IDLE_S)
        return found
