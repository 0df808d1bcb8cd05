"""Verdicts as rows of the database, and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace

from zsad.errors import InputError
from zsad.ledger.database import as_text
from zsad.line.record import VerdictRecord, ViewRecord
from zsad.schema import canonical_bytes, from_json, parse_json

COLUMNS = (
    "seq",
    "line",
    "part",
    "verdict",
    "reason",
    "camera",
    "frame",
    "frame_sha256",
    "score",
    "p_value",
    "threshold",
    "score_kind",
    "defect",
    "captured_utc",
    "decided_utc",
    "capture_to_verdict_ms",
    "dry_run",
    "artifact",
    "graph",
    "backend",
    "engine",
    "recipe",
    "calibration",
)
"""What an engineer asks for, taken from the record and from the view that decided."""

_OF_THE_VIEW = {
    "camera",
    "frame",
    "frame_sha256",
    "score",
    "p_value",
    "threshold",
    "score_kind",
    "defect",
    "artifact",
    "graph",
    "backend",
    "engine",
    "recipe",
    "calibration",
}
_INSERT = (
    f"INSERT INTO verdicts ({', '.join(COLUMNS)}, audit, ledger_s, record)"
    f" VALUES ({', '.join('?' * (len(COLUMNS) + 3))})"
)
_UPDATE = (
    f"UPDATE verdicts SET {', '.join(f'{name} = ?' for name in COLUMNS)}, record = ? WHERE seq = ?"
)


def deciding_view(record: VerdictRecord) -> ViewRecord | None:
    """Return the view that says what the part's verdict says, the highest score among several.

    Where none does, as after a debounce, it is the view with the highest score; None without views.
    """
    agreeing = [view for view in record.views if view.verdict == record.verdict]
    candidates = agreeing or list(record.views)
    return max(candidates, key=lambda view: view.score or 0.0, default=None)


def columns_of(record: VerdictRecord) -> tuple[object, ...]:
    """Return the values of `COLUMNS`."""
    view = deciding_view(record)
    values = (
        (None if view is None else getattr(view, name))
        if name in _OF_THE_VIEW
        else getattr(record, name)
        for name in COLUMNS
    )
    return tuple(as_text(each) if isinstance(each, str) else each for each in values)


def insert(
    connection: sqlite3.Connection, record: VerdictRecord, audit: int, ledger_s: float
) -> None:
    """Add the row of a record; `audit` and `ledger_s` are described in the schema.

    Raises:
        InputError: The record holds a number that JSON has no word for.
    """
    try:
        text = canonical_bytes(record).decode()
    except ValueError:
        raise InputError(f"the verdict about part '{record.part}' holds NaN or infinity") from None
    connection.execute(_INSERT, (*columns_of(record), audit, ledger_s, text))


def disown(connection: sqlite3.Connection, after_seq: int, reason: str) -> None:
    """Turn every verdict after a number into NO_RESULT: the line was told so when they were late.

    Their views keep what they measured, and those that say so already their reason.
    """
    for record in list(records(connection, after_seq + 1, limit=-1)):
        if record.late:
            continue
        late = replace(record, verdict="NO_RESULT", reason=reason, late=True)
        connection.execute(_UPDATE, (*columns_of(late), canonical_bytes(late).decode(), late.seq))


def records(
    connection: sqlite3.Connection,
    first_seq: int,
    limit: int,
    where: str = "1",
    values: Sequence[object] = (),
) -> Iterator[VerdictRecord]:
    """Yield records in the order of their numbers.

    Args:
        connection: The database.
        first_seq: The number to begin at.
        limit: How many at most; -1 is all.
        where: A further condition over the columns, in SQL with `?` for each of `values`.
        values: What the condition's `?` stand for.
    """
    query = f"SELECT seq, record FROM verdicts WHERE seq >= ? AND ({where}) ORDER BY seq LIMIT ?"
    for seq, text in connection.execute(query, (first_seq, *values, limit)):
        yield parse(text, seq)


def parse(text: str, seq: int) -> VerdictRecord:
    """Return the record of a row.

    Raises:
        InputError: The row was altered into something that is no record.
    """
    where = f"verdict {seq}"
    try:
        data = parse_json(text)
    except ValueError:
        raise InputError(f"{where} is not JSON: the ledger was altered") from None
    return from_json(VerdictRecord, data, where)
