"""The ledger: every verdict with its number and its pictures, on the disk before anyone is told."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

from zsad.errors import InputError
from zsad.ledger import audit, database, outbox, rows
from zsad.ledger.audit import AuditEvent, AuditRow
from zsad.ledger.clock import ClockReading, Clocks, LedgerClock, MachineClocks
from zsad.ledger.config import LedgerConfig
from zsad.ledger.database import newest_seq, transaction
from zsad.ledger.outbox import Cursors
from zsad.ledger.pictures import Picture, StoredPicture, name_pictures, store, sweep, sync_folder
from zsad.ledger.reader import Reader
from zsad.ledger.retention import Retention
from zsad.ledger.writer import Writer
from zsad.line.record import VerdictRecord
from zsad.results import VerdictName

LOCK = "ledger.lock"

_LOG = logging.getLogger(__name__)

_CLOSE_WITHIN_S = 5.0

_TOO_LATE = "the line was told NO_RESULT: the ledger did not have this verdict on the disk in time"


class Ledger:
    """The verdicts of one line; one process writes it, any may read.

    `commit` is for one thread at a time; everything else is safe from any thread.
    """

    def __init__(self, root: Path, config: LedgerConfig, clocks: Clocks, lock: int) -> None:
        """Open the ledger in a folder; use `Ledger.open`."""
        self._root = root
        self._config = config
        self._lock = lock
        self._cursors = Cursors()
        self._newest = threading.Condition()
        connection = self._connect()
        try:
            sync_folder(root)  # the database's own name; SQLite sees to its contents
            self._known = newest_seq(connection)
            self._clock = LedgerClock(clocks, _last_reading(connection))
            self._retention = Retention(root, config.retention, self._clock)
            self._retention.measure(connection)
            known = {file for (file,) in connection.execute("SELECT file FROM pictures")}
            sweep(root, known)
            self._reader = Reader(root, config.outbox, self._clock)
        except BaseException:
            connection.close()
            raise
        self._writer = Writer(connection, self._reconnect, self._keep_up, f"ledger {root}")
        self._writer.start()

    @classmethod
    def open(
        cls, folder: str | Path, config: LedgerConfig | None = None, clocks: Clocks | None = None
    ) -> Ledger:
        """Open the ledger in a folder; make it where there is none.

        Args:
            folder: The folder, of this ledger alone.
            config: What is kept and for how long.
            clocks: The machine's clocks.

        Raises:
            InputError: The folder cannot be written, is in use by another process, or holds
                something else or the ledger of a newer zsad.
        """
        root = Path(folder)
        lock = _lock(root)
        try:
            return cls(root, config or LedgerConfig(), clocks or MachineClocks(), lock)
        except (OSError, sqlite3.Error) as error:
            os.close(lock)
            raise InputError(f"ledger {root} cannot be opened: {error}") from None
        except BaseException:
            os.close(lock)
            raise

    def commit(self, record: VerdictRecord, pictures: Sequence[Picture] = ()) -> VerdictRecord:
        """Give a verdict the next number and write it, with those of its pictures that are kept.

        Args:
            record: The verdict; its number and the names of its pictures are the ledger's to give.
            pictures: What could be kept of its views, see `keeps_pictures`.

        Returns:
            The record as it is on the disk: a power cut no longer takes it away.

        Raises:
            LedgerError: It is not on the disk after `commit_timeout_s`. Whoever waits for it has to
                be told NO_RESULT, and it is what any consumer will find if it turns up later.
        """
        work = partial(self._commit, record, tuple(pictures))
        return self._writer.run(work, self._config.commit_timeout_s, self._publish)

    def keeps_pictures(self, verdict: VerdictName) -> bool:
        """Whether the next commit would keep pictures, so that others need not be drawn."""
        return self._config.snapshots.wants(verdict, self.newest + 1)

    def audit(self, event: AuditEvent) -> AuditRow:
        """Add a change to the audit, durably.

        Raises:
            LedgerError: It is not on the disk; what it was about must not be done.
        """
        return self._writer.run(partial(self._audit, event), self._config.commit_timeout_s)

    def register(self, sink: str) -> None:
        """Make a consumer known; a new one is told what comes from now on.

        Raises:
            LedgerError: It could not be written.
        """
        acknowledged = self._writer.run(
            partial(self._register, sink), self._config.commit_timeout_s
        )
        self._cursors.add(sink, acknowledged)

    def pending(self, sink: str, limit: int) -> list[VerdictRecord]:
        """Return the next verdicts for a consumer, in the order of their numbers.

        Where it fell behind the outbox's bound, the first is a gap record (`gap_of` knows it).

        Args:
            sink: A registered consumer.
            limit: How many at most.

        Raises:
            LedgerError: The database cannot be read.
        """
        acknowledged = self._cursors.acknowledged(sink)
        found, gap = self._reader.pending(acknowledged, self.newest, limit)
        if gap is not None:
            self._cursors.hand_out(sink, gap)
        return found

    def acknowledge(self, sink: str, seq: int) -> None:
        """Note that a consumer has taken everything up to a number.

        It reaches the disk within a second; after a crash before that, the consumer is told again.
        """
        self._cursors.acknowledge(sink, min(seq, self.newest), self._clock.utc())

    def backlog(self, sink: str) -> int:
        """Return how many verdicts a consumer has not acknowledged."""
        return self.newest - self._cursors.acknowledged(sink)

    def wait_for(self, seq: int, timeout_s: float) -> bool:
        """Wait until the verdict of a number is committed; whether it is."""
        with self._newest:
            return self._newest.wait_for(lambda: self._known >= seq, timeout_s)

    @property
    def newest(self) -> int:
        """The number of the newest verdict that anyone was told; 0 before the first."""
        with self._newest:
            return self._known

    @property
    def fault(self) -> str | None:
        """What the last write failed with, in one line; None if it succeeded."""
        return self._writer.fault

    def close(self) -> None:
        """Write what is left and let go of the folder; closing twice does no harm."""
        if self._lock < 0:
            return
        self._reader.close()
        if self._writer.stop(_CLOSE_WITHIN_S):
            os.close(self._lock)
            self._lock = -1
        else:
            _LOG.warning(
                "ledger %s: the disk still hangs; the last write is left to it", self._root
            )

    def __enter__(self) -> Ledger:
        """Return itself; it is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _connect(self) -> sqlite3.Connection:
        # A third of the patience, so that a lock held by another program is told as such.
        path = self._root / database.FILE
        return database.open_to_write(path, self._config.commit_timeout_s / 3)

    def _reconnect(self) -> sqlite3.Connection:
        connection = self._connect()
        self._retention.measure(connection)  # what failed may have turned up after all
        return connection

    def _publish(self, record: VerdictRecord) -> None:
        self._known_up_to(record.seq)

    def _known_up_to(self, seq: int) -> None:
        with self._newest:
            self._known = seq
            self._newest.notify_all()

    # From here on, everything runs on the writer's thread.

    def _commit(
        self, record: VerdictRecord, pictures: tuple[Picture, ...], connection: sqlite3.Connection
    ) -> VerdictRecord:
        self._settle_late(connection)
        seq = newest_seq(connection) + 1
        stored: tuple[StoredPicture, ...] = ()
        wanted = self._config.snapshots.wants(record.verdict, seq)
        if pictures and wanted and self._retention.takes_pictures():
            stored = store(self._root, seq, pictures)
        numbered = name_pictures(replace(record, seq=seq), stored)
        with transaction(connection):
            written = self._write_cursors(connection)
            reading = self._write_clock(connection)
            rows.insert(connection, numbered, audit.newest_id(connection), reading.ledger_s)
            connection.executemany(
                "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (s.file, seq, s.view, s.kind, int(record.verdict == "NG"), s.size_bytes)
                    for s in stored
                ],
            )
        self._cursors.settle(written)
        self._retention.pictures_bytes += sum(s.size_bytes for s in stored)
        return numbered

    def _audit(self, event: AuditEvent, connection: sqlite3.Connection) -> AuditRow:
        with transaction(connection):
            return audit.append(connection, event, self._clock.utc())

    def _register(self, sink: str, connection: sqlite3.Connection) -> int:
        with transaction(connection):
            return outbox.register(connection, sink, self._known)

    def _keep_up(self, connection: sqlite3.Connection) -> bool:
        self._settle_late(connection)
        if self._cursors.dirty or self.fault is not None:  # writing is how to learn that it is over
            with transaction(connection):
                written = self._write_cursors(connection)
                self._write_clock(connection)
            self._cursors.settle(written)
        database.checkpoint(connection, self._root / database.FILE)
        bound = self._known - self._config.outbox.max_verdicts
        return self._retention.step(connection, max(bound, self._cursors.slowest(self._known)))

    def _settle_late(self, connection: sqlite3.Connection) -> None:
        """Turn what was committed after its caller had given up into what the line was told."""
        newest = newest_seq(connection)
        if newest <= self._known:
            return
        with transaction(connection):
            rows.disown(connection, self._known, _TOO_LATE)
        self._known_up_to(newest)

    def _write_cursors(self, connection: sqlite3.Connection) -> outbox.Written:
        written = self._cursors.write(connection)
        for event in written.events:
            audit.append(connection, event, self._clock.utc())
        return written

    def _write_clock(self, connection: sqlite3.Connection) -> ClockReading:
        reading = self._clock.reading()
        connection.execute(
            "INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?, ?)",
            (reading.ledger_s, reading.boot_id, reading.boot_s, reading.wall_s),
        )
        return reading


def _lock(root: Path) -> int:
    """Return the descriptor that holds the folder for this process; the kernel frees it."""
    try:
        missing = not root.is_dir()
        root.mkdir(parents=True, exist_ok=True)
        if missing:
            sync_folder(root.parent)
        descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"ledger {root} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise InputError(f"ledger {root} is in use by another process: stop that one") from None
    return descriptor


def _last_reading(connection: sqlite3.Connection) -> ClockReading | None:
    query = "SELECT ledger_s, boot_id, boot_s, wall_s FROM clock"
    found = connection.execute(query).fetchone()
    return None if found is None else ClockReading(*found)
