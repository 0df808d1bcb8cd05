"""The pictures of verdicts on their way: on the disk before the row, and off it where none came."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

from zsad.ledger.config import SnapshotConfig
from zsad.ledger.pictures import Picture, StoredPicture, name_pictures, store, sweep_part
from zsad.line.record import VerdictRecord

_LOG = logging.getLogger(__name__)


class Shelf:
    """Stores the pictures that are kept; it belongs to the writer's thread."""

    def __init__(
        self, root: Path, snapshots: SnapshotConfig, takes_pictures: Callable[[], bool]
    ) -> None:
        """Store nothing yet.

        Args:
            root: The ledger's folder.
            snapshots: Whose pictures are kept.
            takes_pictures: Whether there is enough space left to write any.
        """
        self._root = root
        self._snapshots = snapshots
        self._takes_pictures = takes_pictures
        self._without_row: set[int] = set()

    def store(
        self, record: VerdictRecord, pictures: tuple[Picture, ...]
    ) -> tuple[VerdictRecord, tuple[StoredPicture, ...]]:
        """Write those of a verdict's pictures that are kept; return it with their names, and them.

        Raises:
            InputError: A picture is not the one that the record names.
            OSError: The disk did not take them.
        """
        self._without_row.add(record.seq)
        wanted = self._snapshots.wants(record.verdict, record.seq)
        if not (pictures and wanted and self._takes_pictures()):
            return record, ()
        try:
            stored = store(self._root, record, pictures)
        except BaseException:
            # A disk that they filled may be too full to open the database again.
            with contextlib.suppress(OSError):
                sweep_part(self._root, record.seq, known=())
            raise
        return name_pictures(record, stored), stored

    def settle(self, seq: int) -> None:
        """The row of a verdict is on the disk."""
        self._without_row.discard(seq)

    def sweep(self, connection: sqlite3.Connection) -> None:
        """Remove the pictures of failed commits, except of one whose row is there after all."""
        query = "SELECT file FROM pictures WHERE seq = ?"
        for seq in list(self._without_row):
            try:
                sweep_part(self._root, seq, {file for (file,) in connection.execute(query, (seq,))})
            except OSError as error:  # no reason to refuse verdicts; the next failure tries again
                _LOG.warning("pictures of failed verdict %d cannot be removed: %s", seq, error)
            else:
                self.settle(seq)


def enter(
    connection: sqlite3.Connection, record: VerdictRecord, stored: tuple[StoredPicture, ...]
) -> None:
    """Add the rows of a verdict's pictures, in the caller's transaction."""
    ng = int(record.verdict == "NG")
    connection.executemany(
        "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?)",
        [(s.file, record.seq, s.view, s.kind, ng, s.size_bytes) for s in stored],
    )
