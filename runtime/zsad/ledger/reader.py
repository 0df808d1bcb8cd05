"""What consumers read of a ledger that is being written: a connection of their own, and no lock."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from zsad.errors import InputError, LedgerError
from zsad.ledger import database, rows
from zsad.ledger.clock import LedgerClock
from zsad.ledger.config import OutboxConfig
from zsad.ledger.outbox import Gap, gap_record
from zsad.line.record import VerdictRecord

_LOG = logging.getLogger(__name__)
_HOUR_S = 3600.0


class Reader:
    """Reads what consumers have not had yet; safe to call from every thread."""

    def __init__(
        self, root: Path, config: OutboxConfig, clock: LedgerClock, check: Callable[[], None]
    ) -> None:
        """Read nothing yet.

        Args:
            root: The ledger's folder, which exists.
            config: How far back is read.
            clock: The ledger's clock.
            check: Raises InputError or OSError where another ledger lies in the folder now.
        """
        self._path = root / database.FILE
        self._config = config
        self._clock = clock
        self._check = check
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._paused = False
        self._closed = False

    def pending(
        self, acknowledged: int, newest: int, limit: int
    ) -> tuple[list[VerdictRecord], Gap | None]:
        """Return the records after a number, and the gap that the first of them stands for, if any.

        Args:
            acknowledged: The number.
            newest: The last number that may be told.
            limit: How many records at most.

        Raises:
            LedgerError: The database cannot be read.
        """
        if acknowledged >= newest or limit < 1:
            return [], None
        with self._lock:
            try:
                return self._pending(self._open(), acknowledged, newest, limit)
            except (sqlite3.Error, OSError, InputError) as error:
                self._drop()
                raise LedgerError(f"ledger {self._path.parent} cannot be read: {error}") from None

    def pause(self) -> None:
        """Let go of the database, and read nothing until `resume`."""
        with self._lock:
            self._drop()
            self._paused = True

    def resume(self) -> None:
        """Read again, over a connection of now."""
        with self._lock:
            self._drop()
            self._paused = False

    def close(self) -> None:
        """Let go of the database for good."""
        with self._lock:
            self._drop()
            self._closed = True

    def _pending(
        self, connection: sqlite3.Connection, acknowledged: int, newest: int, limit: int
    ) -> tuple[list[VerdictRecord], Gap | None]:
        connection.execute("BEGIN")  # all of one moment, whatever is deleted meanwhile
        try:
            if database.newest_seq(connection) < newest:
                raise InputError(f"verdict {newest} is not in it, which was told already")
            first = self._first(connection, acknowledged, newest)
            if first == acknowledged + 1:
                return list(_until(connection, first, newest, limit)), None
            gap = Gap(acknowledged + 1, first - 1)
            line = connection.execute("SELECT line FROM verdicts WHERE seq = ?", (newest,))
            shown = gap_record(gap, line.fetchone()[0], self._clock.utc())
            return [shown, *_until(connection, first, newest, limit - 1)], gap
        finally:
            connection.execute("COMMIT")

    def _first(self, connection: sqlite3.Connection, acknowledged: int, newest: int) -> int:
        oldest_s = self._clock.now_s() - self._config.max_age_h * _HOUR_S
        bounded = max(
            acknowledged + 1,
            newest - self._config.max_verdicts + 1,
            database.oldest_seq(connection),
            database.first_seq_since(connection, oldest_s),
        )
        return min(bounded, newest + 1)

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise InputError("it was closed")
        self._check()
        if self._paused:
            raise InputError("it is being opened anew")
        if self._connection is None:
            self._connection = database.open_to_read(self._path)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _until(
    connection: sqlite3.Connection, first: int, newest: int, limit: int
) -> Iterator[VerdictRecord]:
    """Yield records; one that this zsad cannot read is a gap of one, so that it blocks nobody."""
    query = "SELECT seq, line, decided_utc, record FROM verdicts WHERE seq BETWEEN ? AND ?"
    for seq, line, utc, text in connection.execute(f"{query} LIMIT ?", (first, newest, limit)):
        try:
            yield rows.parse(text, seq)
        except InputError as error:
            _LOG.warning("%s: consumers are told of a gap", error)
            yield gap_record(Gap(seq, seq), line, utc)
