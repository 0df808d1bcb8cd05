"""The write-ahead log of the database: worked in between commits, and watched where it grows on."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

LIMIT_BYTES = 4 << 20
"""Beyond it the log is worked into the database, and the next commit cuts it down to it."""

LARGE_BYTES = 64 << 20

_LOG = logging.getLogger(__name__)


def path_of(database: Path) -> Path:
    """Return where the log of a database is; it is there while anybody has it open to write."""
    return database.with_name(f"{database.name}-wal")


class WriteAheadLog:
    """The log of one database; it belongs to the writer's thread."""

    def __init__(self, database: Path) -> None:
        """Look after the log beside a database."""
        self._path = path_of(database)
        self._told_bytes = 0

    def tend(self, connection: sqlite3.Connection) -> None:
        """Work the log into the database where it has grown; readers are not waited for.

        Raises:
            sqlite3.Error: The disk did not take it.
        """
        size_bytes = self._path.stat().st_size if self._path.is_file() else 0
        if size_bytes > LIMIT_BYTES:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._watch(size_bytes)

    def _watch(self, size_bytes: int) -> None:
        """Say that a reader holds on to what it began to read, each time the log has doubled."""
        if size_bytes < LARGE_BYTES:
            self._told_bytes = 0
        elif size_bytes >= 2 * self._told_bytes:
            self._told_bytes = size_bytes
            _LOG.warning(
                "%s is %d MiB and grows: a program that reads the ledger has not ended its"
                " transaction: end it before the disk is full",
                *(self._path, size_bytes >> 20),
            )
