"""Who changed what, when and why: rows that are only added, each bound to all before it.

The chain finds a row that was changed, removed or moved. It cannot find that somebody with the
right to write the file computed the whole chain anew: note the newest hash elsewhere for that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from zsad.ledger.database import as_text
from zsad.schema import sha256_of

AuditKind = Literal[
    "threshold", "recipe", "engine", "configuration", "retention", "override", "outbox", "service"
]

_COLUMNS = "id, utc, kind, who, what, before, after, reason"


@dataclass(frozen=True)
class AuditEvent:
    """A change that decides about verdicts, or about what is kept of them.

    Attributes:
        kind: What was changed.
        who: A person's name, or the part of the daemon that did it by itself.
        what: One line for a person, credentials masked.
        reason: Why, in the words of whoever did it.
        before: The old value, or its hash; None where there was none.
        after: The new value, or its hash.
    """

    kind: AuditKind
    who: str
    what: str
    reason: str
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True)
class AuditRow:
    """A row of the audit as it is stored; `hash` covers everything before it in the chain."""

    id: int
    utc: str
    kind: str
    who: str
    what: str
    before: str | None
    after: str | None
    reason: str
    hash: str


def append(connection: sqlite3.Connection, event: AuditEvent, utc: str) -> AuditRow:
    """Add a row; the caller commits.

    Args:
        connection: The database, in a transaction.
        event: What happened.
        utc: When, ISO 8601 in UTC.
    """
    last = connection.execute("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    number, previous = last or (0, "")
    who, what, reason = map(as_text, (event.who, event.what, event.reason))
    before, after = (each and as_text(each) for each in (event.before, event.after))
    values = (number + 1, utc, event.kind, who, what, before, after, reason)
    row = AuditRow(*values, _chained(previous, values))
    connection.execute(
        f"INSERT INTO audit ({_COLUMNS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, row.hash),
    )
    return row


def newest_id(connection: sqlite3.Connection) -> int:
    """Return the number of the newest row; 0 before the first."""
    found: int | None = connection.execute("SELECT max(id) FROM audit").fetchone()[0]
    return found or 0


def rows(connection: sqlite3.Connection) -> Iterator[AuditRow]:
    """Yield all rows, oldest first."""
    for values in connection.execute(f"SELECT {_COLUMNS}, hash FROM audit ORDER BY id"):
        yield AuditRow(*values)


def check_chain(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield what is wrong with the chain, one line each; nothing if it is whole."""
    previous, expected, found = "", 1, 0
    for row in rows(connection):
        found = row.id
        if row.id != expected:
            yield f"audit: row {expected} is missing"
        fields = (row.id, row.utc, row.kind, row.who, row.what, row.before, row.after, row.reason)
        if _chained(previous, fields) != row.hash:
            yield f"audit: row {row.id} was altered, or the row before it was"
        previous, expected = row.hash, row.id + 1
    known = connection.execute("SELECT max(audit) FROM verdicts").fetchone()[0]
    if known is not None and known > found:
        yield f"audit: rows {found + 1} to {known} are missing: verdicts name them"


def _chained(previous: str, fields: tuple[object, ...]) -> str:
    return sha256_of([previous, *fields])
