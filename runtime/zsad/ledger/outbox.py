"""What each consumer has acknowledged: cursors over the verdicts, and a gap where one fell behind.

The cursors live in memory and reach the disk with the next commit or a second later. A crash may
lose that last second of them, so a consumer may see a verdict twice, and never misses one.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from dataclasses import dataclass

from zsad.errors import InputError
from zsad.ledger.audit import AuditEvent
from zsad.line.record import VerdictRecord

_GAP = re.compile(r"gap: verdicts (\d+) to (\d+) ")


@dataclass(frozen=True)
class Gap:
    """Verdicts that a consumer will not get, first and last number."""

    first: int
    last: int


@dataclass
class _Cursor:
    acknowledged: int
    stored: int
    acknowledged_utc: str = ""
    gap: Gap | None = None


class Newest:
    """The number of the newest verdict that anyone may be told; wakes those who wait for it."""

    def __init__(self, seq: int) -> None:
        """Begin at a number; 0 is before the first."""
        self._seq = seq
        self._changed = threading.Condition()

    @property
    def seq(self) -> int:
        """The number."""
        with self._changed:
            return self._seq

    def advance(self, seq: int) -> None:
        """Tell a newer one."""
        with self._changed:
            self._seq = seq
            self._changed.notify_all()

    def wait_for(self, seq: int, timeout_s: float) -> bool:
        """Wait until a number was told; whether it was."""
        with self._changed:
            return self._changed.wait_for(lambda: self._seq >= seq, timeout_s)


class Cursors:
    """How far each consumer has come; safe to call from every thread."""

    def __init__(self) -> None:
        """Know no consumer yet."""
        self._lock = threading.Lock()
        self._cursors: dict[str, _Cursor] = {}
        self._events: list[AuditEvent] = []

    def add(self, sink: str, acknowledged: int) -> None:
        """Add a consumer that has acknowledged everything up to a number."""
        with self._lock:
            self._cursors[sink] = _Cursor(acknowledged, acknowledged)

    def acknowledged(self, sink: str) -> int:
        """Return the last number that a consumer acknowledged.

        Raises:
            InputError: It was never registered.
        """
        with self._lock:
            return self._cursor(sink).acknowledged

    def hand_out(self, sink: str, gap: Gap) -> None:
        """Remember that a consumer was shown a gap, so that its acknowledgement is audited."""
        with self._lock:
            self._cursor(sink).gap = gap

    def acknowledge(self, sink: str, seq: int, utc: str) -> None:
        """Move a consumer's cursor up to a number; it never goes back."""
        with self._lock:
            cursor = self._cursor(sink)
            if seq <= cursor.acknowledged:
                return
            cursor.acknowledged, cursor.acknowledged_utc = seq, utc
            gap, cursor.gap = cursor.gap, None
            if gap is not None and seq >= gap.last:
                self._events.append(_lost(sink, gap))

    def slowest(self, newest: int) -> int:
        """Return the last number that all have acknowledged; `newest` if there is nobody."""
        with self._lock:
            return min((c.acknowledged for c in self._cursors.values()), default=newest)

    @property
    def dirty(self) -> bool:
        """Whether a cursor has moved since it was last written."""
        with self._lock:
            moved = any(c.acknowledged != c.stored for c in self._cursors.values())
            return moved or bool(self._events)

    def write(self, connection: sqlite3.Connection) -> Written:
        """Write what has moved, in the caller's transaction; call `settle` once it is committed."""
        with self._lock:
            moved = {n: c for n, c in self._cursors.items() if c.acknowledged != c.stored}
            written = Written({n: c.acknowledged for n, c in moved.items()}, tuple(self._events))
            times = {n: c.acknowledged_utc for n, c in moved.items()}
        for name, seq in written.cursors.items():
            _store(connection, name, seq, times[name])
        return written

    def settle(self, written: Written) -> None:
        """Forget what is on the disk now."""
        with self._lock:
            for name, seq in written.cursors.items():
                self._cursors[name].stored = seq
            del self._events[: len(written.events)]

    def _cursor(self, sink: str) -> _Cursor:
        if sink not in self._cursors:
            raise InputError(f"sink '{sink}' is not registered with the ledger")
        return self._cursors[sink]


@dataclass(frozen=True)
class Written:
    """What one transaction holds of the cursors: numbers by consumer, and events for the audit."""

    cursors: dict[str, int]
    events: tuple[AuditEvent, ...]


def _store(connection: sqlite3.Connection, sink: str, seq: int, utc: str) -> None:
    # Asked of the database: a commit that failed may turn up after all, with its cursors.
    found = connection.execute("SELECT acknowledged FROM sinks WHERE name = ?", (sink,)).fetchone()
    if found is not None and found[0] < seq:
        row = (sink, found[0] + 1, seq, utc)
        connection.execute("INSERT INTO acknowledgements VALUES (?, ?, ?, ?)", row)
        connection.execute("UPDATE sinks SET acknowledged = ? WHERE name = ?", (seq, sink))


def register(connection: sqlite3.Connection, sink: str, newest: int) -> int:
    """Return what a consumer has acknowledged; a new one begins after the newest verdict."""
    found = connection.execute("SELECT acknowledged FROM sinks WHERE name = ?", (sink,)).fetchone()
    if found is not None:
        return int(found[0])
    connection.execute("INSERT INTO sinks VALUES (?, ?)", (sink, newest))
    return newest


def farthest(connection: sqlite3.Connection) -> int:
    """Return the last number that any consumer has acknowledged; 0 without consumers."""
    query = "SELECT coalesce(max(acknowledged), 0) FROM sinks"
    return int(connection.execute(query).fetchone()[0])


def gap_record(gap: Gap, line: str, utc: str) -> VerdictRecord:
    """Return what a consumer sees in place of the verdicts it will not get.

    Its number is the last of theirs, so that acknowledging it moves on; it has no part and no view.
    """
    return VerdictRecord(
        seq=gap.last,
        line=line,
        part="",
        verdict="NO_RESULT",
        reason=f"gap: verdicts {gap.first} to {gap.last} are no longer in the outbox",
        views=(),
        captured_utc=utc,
        decided_utc=utc,
        capture_to_verdict_ms=0.0,
    )


def gap_of(record: VerdictRecord) -> Gap | None:
    """Return the gap that a record stands for; None for a verdict about a part."""
    if record.part or record.views or record.reason is None:
        return None
    found = _GAP.match(record.reason)
    return Gap(int(found[1]), int(found[2])) if found else None


def _lost(sink: str, gap: Gap) -> AuditEvent:
    return AuditEvent(
        kind="outbox",
        who="zsad",
        what=f"sink '{sink}' was not told verdicts {gap.first} to {gap.last}",
        reason="it fell behind the outbox's bound",
    )
