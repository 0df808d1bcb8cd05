"""What the ledger does on its writer's thread: each step with the connection that it is given."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from zsad.errors import InputError
from zsad.ledger import audit, database, outbox, rows, shelf
from zsad.ledger.audit import AuditEvent, AuditRow
from zsad.ledger.clock import Clocks, LedgerClock, last_reading
from zsad.ledger.config import LedgerConfig
from zsad.ledger.database import newest_seq, transaction
from zsad.ledger.log import WriteAheadLog
from zsad.ledger.missed import TOO_LATE, Attempt, Missed
from zsad.ledger.outbox import Cursors, Newest
from zsad.ledger.pictures import Picture, sweep, sync_folder
from zsad.ledger.retention import Retention
from zsad.ledger.shelf import Shelf
from zsad.line.record import VerdictRecord

_HURRIED_BUSY_S = 0.02
_MISSED_AT_ONCE = 200
"""Rows of one transaction, some 10 ms; a commit waits for no more than one such."""


class Journal:
    """Writes verdicts, cursors, clock and audit, and keeps the folder in order.

    Attributes:
        newest: What consumers may be told up to.
        clock: The ledger's clock.
        cursors: How far each consumer is.
        missed: What could not be committed.
    """

    def __init__(
        self, root: Path, config: LedgerConfig, clocks: Clocks, connection: sqlite3.Connection
    ) -> None:
        """Go on from what is there, and remove what a crash left.

        Raises:
            OSError: The disk refused.
            sqlite3.Error: The database cannot be read.
            InputError: It lacks verdicts that a consumer acknowledged.
        """
        self._root = root
        self._config = config
        sync_folder(root)  # the database's own name; SQLite sees to its contents
        _check_holds(connection, outbox.farthest(connection))
        self.newest = Newest(newest_seq(connection))
        self._tried_seq = 0  # what this process last tried to commit, up to there
        self._tried = Attempt()
        self._log = WriteAheadLog(root / database.FILE)
        self._hurried = False
        self.cursors = Cursors()
        self.missed = Missed()
        self.clock = LedgerClock(clocks, last_reading(connection))
        self._retention = Retention(root, config.retention, self.clock)
        self._shelf = Shelf(root, config.snapshots, self._retention.takes_pictures)
        self._retention.measure(connection)
        sweep(root, {file for (file,) in connection.execute("SELECT file FROM pictures")})

    def reconnect(self) -> sqlite3.Connection:
        """Open the database again, after a failure, and remove what that left.

        A lock that made one commit wait and fail must not make every other wait as long: until a
        write succeeds, they fail at once.
        """
        connection = database.open_to_write(self._root / database.FILE, _HURRIED_BUSY_S)
        self._hurried = True
        try:
            self._shelf.sweep(connection)
            self._retention.measure(connection)  # what failed may have turned up after all
        except BaseException:
            connection.close()
            raise
        return connection

    def commit(
        self, record: VerdictRecord, pictures: tuple[Picture, ...], connection: sqlite3.Connection
    ) -> VerdictRecord:
        """Write a verdict and those of its pictures that are kept; return it as it was written.

        What was missed before it comes first.
        """
        self.write_missed(connection)
        attempt = Attempt(refused=(record,))
        record = replace(record, seq=newest_seq(connection) + 1)
        record, stored = self._shelf.store(record, pictures)
        self._tried_seq, self._tried = record.seq, attempt
        with transaction(connection):
            written = self._write_cursors(connection)
            reading = self.clock.store(connection)
            rows.insert(connection, record, audit.newest_id(connection), reading.ledger_s)
            shelf.enter(connection, record, stored)
        self._shelf.settle(record.seq)
        self._calm_down(connection)
        self.cursors.settle(written)
        self._retention.pictures_bytes += sum(s.size_bytes for s in stored)
        return record

    def write_missed(self, connection: sqlite3.Connection) -> bool:
        """Write a row for each verdict that could not be committed; true where there are more."""
        self._settle_late(connection)
        attempt = self.missed.next(_MISSED_AT_ONCE)
        if attempt is None:
            return False
        first = newest_seq(connection) + 1
        self._tried_seq, self._tried = first + len(attempt.rows) - 1, attempt
        with transaction(connection):
            if attempt.beyond is not None:
                audit.append(connection, attempt.beyond.event(), self.clock.utc())
            ledger_s, newest_audit = (
                self.clock.store(connection).ledger_s,
                audit.newest_id(connection),
            )
            for seq, row in enumerate(attempt.rows, start=first):
                rows.insert(connection, replace(row, seq=seq), newest_audit, ledger_s)
        self._tell(self._tried_seq)
        return len(self.missed) > 0

    def audit(self, event: AuditEvent, connection: sqlite3.Connection) -> AuditRow:
        """Add a row to the audit."""
        with transaction(connection):
            return audit.append(connection, event, self.clock.utc())

    def register(self, sink: str, connection: sqlite3.Connection) -> int:
        """Return what a consumer has acknowledged, and remember one that is new."""
        with transaction(connection):
            return outbox.register(connection, sink, self.newest.seq)

    def keep_up(self, probe: bool, connection: sqlite3.Connection) -> bool:
        """Do what is due between commits; true where there is more of it.

        Args:
            probe: Write even if there is nothing to, to learn whether that works again.
            connection: The database, outside a transaction.
        """
        more = self.write_missed(connection)
        if probe or self.cursors.dirty:
            with transaction(connection):
                written = self._write_cursors(connection)
                self.clock.store(connection)
            self._calm_down(connection)
            self.cursors.settle(written)
        self._log.tend(connection)
        newest = self.newest.seq
        bound = newest - self._config.outbox.max_verdicts
        told = max(bound, self.cursors.slowest(newest))
        return self._retention.step(connection, told) or more

    def _calm_down(self, connection: sqlite3.Connection) -> None:
        if self._hurried:
            database.wait_for_locks(connection, _busy_s(self._config))
            self._hurried = False

    def _settle_late(self, connection: sqlite3.Connection) -> None:
        """Turn what was committed after its caller had given up into what the line was told."""
        newest, told = newest_seq(connection), self.newest.seq
        _check_holds(connection, told)
        if newest == told:
            return
        if newest != self._tried_seq:  # one transaction, so all of it or nothing
            raise InputError(
                f"verdict {newest} is another program's: stop what else writes to the ledger and"
                " restart the line"
            )
        with transaction(connection):
            rows.disown(connection, told, TOO_LATE)
        self._tell(newest)

    def _tell(self, newest: int) -> None:
        """Let consumers read on, where what was last tried is on the disk."""
        self.missed.settle(self._tried)
        self.newest.advance(newest)

    def _write_cursors(self, connection: sqlite3.Connection) -> outbox.Written:
        written = self.cursors.write(connection)
        for event in written.events:
            audit.append(connection, event, self.clock.utc())
        return written


def connect(root: Path, config: LedgerConfig) -> sqlite3.Connection:
    """Open the database of a folder to write; see `zsad.ledger.database.open_to_write`."""
    return database.open_to_write(root / database.FILE, _busy_s(config))


def _busy_s(config: LedgerConfig) -> float:
    # A third of the patience, so that a lock held by another program is told as such.
    return config.commit_timeout_s / 3


def _check_holds(connection: sqlite3.Connection, told: int) -> None:
    newest = newest_seq(connection)
    if newest < told:
        raise InputError(
            f"verdicts {newest + 1} to {told} are gone, which consumers were told of: put them"
            " back, or move the ledger's folder away to begin a new one, and restart the line"
        )
