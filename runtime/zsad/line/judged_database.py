"""The database beside a ledger that keeps which files were judged, brought up to that ledger."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection
from pathlib import Path

from zsad.credentials import masked_line
from zsad.errors import InputError
from zsad.ledger.database import FILE as LEDGER
from zsad.ledger.database import open_to_read, transaction

LOG = logging.getLogger(__name__)

FILE = "judged_files.sqlite"

_VERSION = 1
_IN_MEMORY = Path(":memory:")
_BUSY_S = 0.2
_SCHEMA = """
CREATE TABLE files (
    camera TEXT NOT NULL, name TEXT NOT NULL, seq INTEGER NOT NULL,
    size INTEGER, modified_ns INTEGER, inode INTEGER, frame_sha256 TEXT,
    PRIMARY KEY (camera, name)
) WITHOUT ROWID;
CREATE INDEX files_by_version ON files (camera, modified_ns, size, inode);
CREATE TABLE covered (seq INTEGER NOT NULL);
INSERT INTO covered VALUES (0);
"""
# One that was noted has its version, which the ledger does not know.
_PUT_NEWER = """
INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (camera, name) DO UPDATE SET
    seq = excluded.seq, size = NULL, modified_ns = NULL, inode = NULL,
    frame_sha256 = excluded.frame_sha256
WHERE excluded.seq > files.seq
"""
_OF_THE_LEDGER = """
SELECT json_extract(view.value, '$.camera'), json_extract(view.value, '$.frame'), seq,
    NULL, NULL, NULL, json_extract(view.value, '$.frame_sha256')
FROM verdicts, json_each(verdicts.record, '$.views') AS view WHERE seq > ? ORDER BY seq
"""


def open_kept(folder: Path, cameras: Collection[str]) -> sqlite3.Connection:
    """Return what is kept; the ledger has all of it where that is damaged or cannot be."""
    path = folder / FILE
    try:
        return _caught_up(path, folder / LEDGER, cameras)
    except sqlite3.DatabaseError as error:
        LOG.warning("%s is made anew: %s", path, masked_line(error))
    try:
        for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
            (folder / name).unlink(missing_ok=True)
        return _caught_up(path, folder / LEDGER, cameras)
    except (sqlite3.Error, OSError) as error:
        LOG.warning("%s cannot be made, memory does for now: %s", path, masked_line(error))
    try:
        return _caught_up(_IN_MEMORY, folder / LEDGER, cameras)
    except sqlite3.Error as error:
        raise InputError(f"{folder / LEDGER} cannot be read: {error}") from None


def _caught_up(path: Path, ledger: Path, cameras: Collection[str]) -> sqlite3.Connection:
    connection = _open(path)
    try:
        _catch_up(connection, ledger, cameras)
    except BaseException:
        connection.close()
        raise
    return connection


def _catch_up(connection: sqlite3.Connection, ledger: Path, cameras: Collection[str]) -> None:
    """Read what the ledger has beyond what is kept; one that has less is another ledger."""
    reader = open_to_read(ledger)
    try:
        newest = reader.execute("SELECT coalesce(max(seq), 0) FROM verdicts").fetchone()[0]
        covered = connection.execute("SELECT seq FROM covered").fetchone()[0]
        with transaction(connection):
            if covered > newest:
                connection.execute("DELETE FROM files")
                covered = 0
            found = reader.execute(_OF_THE_LEDGER, (covered,))
            connection.executemany(_PUT_NEWER, (r for r in found if r[0] in cameras))
            connection.execute("UPDATE covered SET seq = ?", (newest,))
    finally:
        reader.close()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")  # a power cut leaves more to catch up
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"it is of version {version}, not {_VERSION}")
        if version == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection
