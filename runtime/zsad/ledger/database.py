"""The ledger's SQLite file: its schema, and how it is opened to write and to read.

Write-ahead log with `synchronous=FULL`: a commit returns when its pages and the log's checksum are
on the disk. Checkpoints run between commits, so that no verdict waits for one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zsad.errors import InputError
from zsad.ledger import log

FILE = "ledger.sqlite"
SCHEMA = 1
APPLICATION_ID = 0x7A736164  # "zsad", so that `file` and we know one from any other database

_OLDEST_SQLITE = (3, 37)  # STRICT tables; JetPack 6 has 3.37


def open_to_write(path: Path, busy_s: float) -> sqlite3.Connection:
    """Open the database, make it where there is none, and bring it to this schema.

    Args:
        path: The file.
        busy_s: Seconds to wait where another program holds the lock.

    Raises:
        InputError: It is no ledger, or one of a newer zsad, or SQLite is too old.
        sqlite3.Error: It cannot be opened, read or written.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise InputError(f"SQLite {sqlite3.sqlite_version} is too old for a ledger: 3.37 is needed")
    connection = sqlite3.connect(
        path, timeout=busy_s, isolation_level=None, check_same_thread=False
    )
    try:
        _check_is_ledger(connection, path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute(f"PRAGMA journal_size_limit={log.LIMIT_BYTES}")
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def wait_for_locks(connection: sqlite3.Connection, busy_s: float) -> None:
    """Wait this long from now on where another program holds the lock."""
    connection.execute(f"PRAGMA busy_timeout = {round(busy_s * 1e3)}").fetchall()


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open the database of a ledger, which may be in use, without the right to change it.

    Raises:
        InputError: There is none, it cannot be read, or it is of a newer zsad.
    """
    if not path.is_file():
        raise InputError(f"no ledger in {path.parent}: it holds no {path.name}")
    connection = None
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{_how_to_read(path)}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        if _check_is_ledger(connection, path) == 0:
            raise InputError(
                f"{path} is no ledger yet: the daemon has not finished making it, or it was copied"
                f" without {log.path_of(path).name}, which holds the newest verdicts"
            )
    except (InputError, sqlite3.Error) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, InputError):
            raise
        raise InputError(f"ledger {path} cannot be read: {error}") from None
    return connection


def _how_to_read(path: Path) -> str:
    # SQLite makes files of its own beside a log, which cannot be where nobody may write. A database
    # without a log is one that no daemon has open, so that it does not change meanwhile.
    unused = not log.path_of(path).exists() and not os.access(path.parent, os.W_OK)
    return "mode=ro&immutable=1" if unused else "mode=ro"


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block writes, durably; after an error nothing of it is there.

    Raises:
        sqlite3.Error: The disk did not take it.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def as_text(value: str) -> str:
    """Return a text as the database can hold it: what is no character becomes its escape.

    A file's name that is not UTF-8 reaches Python with such parts.
    """
    return value.encode("utf-8", "backslashreplace").decode()


def first_seq_since(connection: sqlite3.Connection, ledger_s: float) -> int:
    """Return the oldest verdict committed at or after a moment of the ledger's clock.

    Sequence and clock rise together, so a search by halves needs no index and no scan. Where every
    verdict is older, it returns the number after the newest.
    """
    low, high = _span(connection)
    high += 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute("SELECT ledger_s FROM verdicts WHERE seq = ?", (middle,))
        if row.fetchone()[0] < ledger_s:
            low = middle + 1
        else:
            high = middle
    return low


def newest_seq(connection: sqlite3.Connection) -> int:
    """Return the number of the newest verdict; 0 before the first."""
    return _span(connection)[1]


def oldest_seq(connection: sqlite3.Connection) -> int:
    """Return the number of the oldest verdict that is kept; 1 before the first."""
    return _span(connection)[0]


def _span(connection: sqlite3.Connection) -> tuple[int, int]:
    # Two statements: SQLite reads one end of the index for each, and the whole table for both.
    low = connection.execute("SELECT min(seq) FROM verdicts").fetchone()[0]
    high = connection.execute("SELECT max(seq) FROM verdicts").fetchone()[0]
    return (1, 0) if low is None else (low, high)


def _check_is_ledger(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema's number, 0 for an empty file."""
    try:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if "not a database" not in str(error):
            raise
        raise InputError(f"{path} is not a database: move it away") from None
    if application != APPLICATION_ID and (version or tables):
        raise InputError(f"{path} is a database of something else: choose another folder")
    if version > SCHEMA:
        raise InputError(f"{path} has schema {version}, this zsad reads up to {SCHEMA}: upgrade")
    return version


def _migrate(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number in range(version + 1, SCHEMA + 1):
        script = Path(__file__).with_name(f"schema_{number}.sql").read_text(encoding="utf-8")
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\nPRAGMA application_id={APPLICATION_ID};\n"
            f"PRAGMA user_version={number};\nCOMMIT;"
        )
