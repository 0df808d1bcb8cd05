"""Verdicts that the ledger did not take, kept until it can be written again.

Nobody was told of them, and whoever reads the ledger later has to see that those parts existed. So
each becomes a row that says NO_RESULT and why; none ever becomes the verdict that it was, which
would be an OK that comes late. They are kept in memory, so the end of the process ends them too.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from dataclasses import dataclass, replace

from zsad.credentials import masked_line
from zsad.ledger.audit import AuditEvent
from zsad.line.record import VerdictRecord
from zsad.schema import canonical_bytes

BOUND = 10_000
"""Verdicts that are kept, some 3 kB each; those beyond it are counted in one row of the audit."""

TOO_LATE = "the line was told NO_RESULT: the ledger did not have this verdict on the disk in time"


@dataclass(frozen=True)
class Beyond:
    """Verdicts that could not even be kept, and when the first and the last were reached.

    Attributes:
        count: How many.
        first_utc: When the first was reached.
        last_utc: When the last was.
        unfit: How many of them no row can hold; the others were one too many.
    """

    count: int
    first_utc: str
    last_utc: str
    unfit: int = 0

    def event(self) -> AuditEvent:
        """Return what the audit says in place of their rows."""
        return AuditEvent(
            kind="service",
            who="zsad",
            what=f"{self.count} verdicts have no row: decided {self.first_utc} to {self.last_utc}",
            reason=f"{self._why()}; nobody was told of them",
        )

    def _why(self) -> str:
        """Return why they could not be kept; the one that no row can hold is a bug of ours."""
        too_many = f"the ledger could not be written while {BOUND} others waited for it"
        unfit = "what they say is not JSON, so that no row can hold it"
        if not self.unfit:
            return too_many
        if self.unfit == self.count:
            return unfit
        return f"of {self.unfit}, {unfit}; for the others, {too_many}"


@dataclass(frozen=True)
class Attempt:
    """What one transaction tries to write.

    Attributes:
        refused: The verdicts as they were refused; it is these very objects that are waited for.
        rows: What is written in their place.
        beyond: Those that could not be kept; None where there are none.
    """

    refused: tuple[VerdictRecord, ...] = ()
    rows: tuple[VerdictRecord, ...] = ()
    beyond: Beyond | None = None


class Missed:
    """The verdicts that wait, oldest first; any thread may add one."""

    def __init__(self, bound: int = BOUND) -> None:
        """Keep at most `bound` of them."""
        self._bound = bound
        self._lock = threading.Lock()
        self._waiting: deque[tuple[VerdictRecord, VerdictRecord]] = deque()
        self._beyond: Beyond | None = None

    def __len__(self) -> int:
        """Return how many rows wait."""
        with self._lock:
            return len(self._waiting)

    def add(self, refused: VerdictRecord, why: str) -> None:
        """Keep a verdict that could not be committed, and why."""
        reason = f"{TOO_LATE} ({masked_line(why)})"
        row = replace(refused, verdict="NO_RESULT", reason=reason, late=True)
        if not _is_json(row):  # it would be refused for ever, and hold up all others
            row = replace(row, views=())
        with self._lock:
            fits = _is_json(row)
            if fits and len(self._waiting) < self._bound:
                self._waiting.append((refused, row))
                return
            utc = refused.decided_utc
            before = self._beyond or Beyond(0, utc, utc)
            unfit = before.unfit + (not fits)
            self._beyond = Beyond(before.count + 1, before.first_utc, utc, unfit)

    def next(self, limit: int) -> Attempt | None:
        """Return what to write next, `limit` rows at most; None where nothing waits."""
        with self._lock:
            pairs = [*itertools.islice(self._waiting, limit)]
            if not pairs and self._beyond is None:
                return None
            refused, rows = [each for each, _ in pairs], [row for _, row in pairs]
            return Attempt(tuple(refused), tuple(rows), self._beyond)

    def settle(self, attempt: Attempt) -> None:
        """Forget what is on the disk now."""
        written = {id(each) for each in attempt.refused}
        with self._lock:
            self._waiting = deque(pair for pair in self._waiting if id(pair[0]) not in written)
            self._beyond = _without(self._beyond, attempt.beyond)


def _is_json(record: VerdictRecord) -> bool:
    try:
        canonical_bytes(record)
    except (TypeError, ValueError):
        return False
    return True


def _without(beyond: Beyond | None, told: Beyond | None) -> Beyond | None:
    if beyond is None or told is None:
        return beyond
    count, unfit = beyond.count - told.count, beyond.unfit - told.unfit
    return replace(beyond, count=count, first_utc=told.last_utc, unfit=unfit) if count else None
