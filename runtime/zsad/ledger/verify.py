"""Whether a ledger is whole: database, numbers, rows, pictures and the audit's chain."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from zsad.errors import InputError
from zsad.images import frame_sha256, read_image
from zsad.ledger import audit, rows
from zsad.ledger.database import FILE, newest_seq, oldest_seq, open_to_read


def check(root: Path) -> Iterator[str]:
    """Yield what is wrong with the ledger in a folder, one line each; nothing if it is whole.

    It may be in use meanwhile.

    Raises:
        InputError: There is no ledger, or it cannot be read.
    """
    connection = open_to_read(root / FILE)
    try:
        yield from check_database(connection)
        yield from _check_pictures(connection, root)
    except sqlite3.Error as error:
        yield f"database: {error}"
    finally:
        connection.close()


def check_database(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield what is wrong with everything but the pictures."""
    for (line,) in connection.execute("PRAGMA integrity_check(20)"):
        if line != "ok":
            yield f"database: {line}"
    yield from _check_rows(connection)
    yield from audit.check_chain(connection)


def _check_rows(connection: sqlite3.Connection) -> Iterator[str]:
    expected, last = oldest_seq(connection), newest_seq(connection)
    columns = ", ".join(rows.COLUMNS)
    query = f"SELECT record, {columns} FROM verdicts WHERE seq <= ? ORDER BY seq"
    for text, *values in connection.execute(query, (last,)):
        seq = values[0]
        if seq != expected:
            yield f"verdicts {expected} to {seq - 1} are missing"
        expected = seq + 1
        try:
            told = rows.columns_of(rows.parse(text, seq))
        except InputError as error:
            yield str(error)
            continue
        pairs = zip(rows.COLUMNS, values, told, strict=True)
        for name in (name for name, stored, was in pairs if stored != was):
            yield f"verdict {seq}: column '{name}' is not what its record says"


def _check_pictures(connection: sqlite3.Connection, root: Path) -> Iterator[str]:
    query = "SELECT pictures.file, kind, view, record, seq FROM pictures JOIN verdicts USING (seq)"
    for file, kind, view, text, seq in connection.execute(f"{query} ORDER BY seq"):
        path = root / file
        if not path.is_file():
            if _is_listed(root, file):  # retention may have taken both since
                yield f"verdict {seq}: its {kind} {file} is missing"
            continue
        if kind != "frame":
            continue
        try:
            recorded = rows.parse(text, seq).views[view].frame_sha256
            if frame_sha256(read_image(path)) != recorded:
                yield f"verdict {seq}: {file} is not the frame that was judged"
        except (InputError, IndexError) as error:
            yield f"verdict {seq}: {error}"


def _is_listed(root: Path, file: str) -> bool:
    connection = open_to_read(root / FILE)
    try:
        query = "SELECT count(*) FROM pictures WHERE file = ?"
        return bool(connection.execute(query, (file,)).fetchone()[0])
    finally:
        connection.close()
