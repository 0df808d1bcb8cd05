"""The ledger: every verdict with its number and its pictures, on the disk before anyone is told."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from zsad.errors import InputError, LedgerError
from zsad.ledger.audit import AuditEvent, AuditRow
from zsad.ledger.clock import Clocks, MachineClocks
from zsad.ledger.config import LedgerConfig
from zsad.ledger.held import HeldFiles, lock_folder
from zsad.ledger.journal import Journal, connect
from zsad.ledger.pictures import Picture
from zsad.ledger.reader import Reader
from zsad.ledger.writer import Writer
from zsad.line.record import VerdictRecord
from zsad.results import VerdictName

_LOG = logging.getLogger(__name__)
_MISSED_SHARE = 0.8  # of the time to close in, so that some is left to end the writer
_AGAIN_S = 0.1


class Ledger:
    """The verdicts of one line; one process writes it, any may read.

    `commit` is for one thread at a time; everything else is safe from any thread.
    """

    def __init__(self, root: Path, config: LedgerConfig, clocks: Clocks, lock: int) -> None:
        """Open the ledger in a folder; use `Ledger.open`."""
        self._root = root
        self._config = config
        self._lock = lock
        connection = connect(root, config)
        try:
            self._files = HeldFiles(root, lock)
            try:
                self._journal = Journal(root, config, clocks, connection)
            except BaseException:
                self._files.close()
                raise
        except BaseException:
            connection.close()
            raise
        self._reader = Reader(root, config.outbox, self._journal.clock, self._files.check)
        self._writer = Writer(
            connection, self._reopen, self._keep_up, self._check, where=f"ledger {root}"
        )
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
        lock = lock_folder(root)
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
                be told NO_RESULT, and that is what the ledger will say of the part, `late`, once it
                can be written again.
        """
        return self._writer.run(
            partial(self._journal.commit, record, tuple(pictures)),
            self._config.commit_timeout_s,
            keep=lambda committed: self._journal.newest.advance(committed.seq),
            lose=lambda error: self._journal.missed.add(record, str(error)),
        )

    def keeps_pictures(self, verdict: VerdictName) -> bool:
        """Whether the next commit would keep pictures, so that others need not be drawn."""
        return self._config.snapshots.wants(verdict, self.newest + 1)

    def audit(self, event: AuditEvent) -> AuditRow:
        """Add a change to the audit, durably.

        Raises:
            LedgerError: It is not on the disk; what it was about must not be done.
        """
        return self._writer.run(partial(self._journal.audit, event), self._config.commit_timeout_s)

    def register(self, sink: str) -> None:
        """Make a consumer known; a new one is told what comes from now on.

        Raises:
            LedgerError: It could not be written.
        """
        acknowledged = self._writer.run(
            partial(self._journal.register, sink), self._config.commit_timeout_s
        )
        self._journal.cursors.add(sink, acknowledged)

    def pending(self, sink: str, limit: int) -> list[VerdictRecord]:
        """Return the next verdicts for a consumer, in the order of their numbers.

        Where it fell behind the outbox's bound, the first is a gap record (`gap_of` knows it).

        Args:
            sink: A registered consumer.
            limit: How many at most.

        Raises:
            LedgerError: The database cannot be read.
        """
        acknowledged = self._journal.cursors.acknowledged(sink)
        found, gap = self._reader.pending(acknowledged, self.newest, limit)
        if gap is not None:
            self._journal.cursors.hand_out(sink, gap)
        return found

    def acknowledge(self, sink: str, seq: int) -> None:
        """Note that a consumer has taken everything up to a number.

        It reaches the disk within a second; after a crash before that, the consumer is told again.
        """
        self._journal.cursors.acknowledge(sink, min(seq, self.newest), self._journal.clock.utc())

    def backlog(self, sink: str) -> int:
        """Return how many verdicts a consumer has not acknowledged."""
        return self.newest - self._journal.cursors.acknowledged(sink)

    def wait_for(self, seq: int, timeout_s: float) -> bool:
        """Wait until the verdict of a number is committed; whether it is."""
        return self._journal.newest.wait_for(seq, timeout_s)

    @property
    def newest(self) -> int:
        """The number of the newest verdict that anyone was told; 0 before the first."""
        return self._journal.newest.seq

    @property
    def fault(self) -> str | None:
        """What the last write failed with, in one line; None if it succeeded."""
        return self._writer.fault

    def close(self, deadline_s: float = 5.0) -> None:
        """Write what is left and let go of the folder; closing twice does no harm.

        Where the disk still hangs after `deadline_s`, the folder is let go with the process, and
        what could not be committed is lost.
        """
        if self._lock < 0:
            return
        end_s = time.monotonic() + deadline_s
        self._reader.close()
        self._write_missed(_MISSED_SHARE * deadline_s)
        if self._writer.stop(end_s - time.monotonic()):
            self._files.close()
            os.close(self._lock)
            self._lock = -1
        else:
            _LOG.warning("ledger %s: the disk hangs: the last write is left to it", self._root)

    def _write_missed(self, within_s: float) -> None:
        by_s = time.monotonic() + within_s
        while missed := len(self._journal.missed):
            left_s = by_s - time.monotonic()
            if left_s <= 0:
                _LOG.error(
                    "ledger %s: %d verdicts that were refused have no row", self._root, missed
                )
                return
            try:
                self._writer.run(self._journal.write_missed, left_s)
            except LedgerError:
                time.sleep(min(_AGAIN_S, left_s))

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

    def _check(self) -> None:
        try:
            self._files.check()
            self._files.check_log()
        except (InputError, OSError):
            # The writer's connection has to be the last one that is closed: that one works a log
            # without a name into the database.
            self._reader.pause()
            raise

    def _reopen(self) -> sqlite3.Connection:
        self._files.check()  # by its path another process's ledger would be opened as well
        self._reader.resume()  # anew, for it may have read a log that is no longer written to
        connection = self._journal.reconnect()
        try:
            self._files.note_log()
        except BaseException:
            connection.close()
            raise
        return connection

    def _keep_up(self, connection: sqlite3.Connection) -> bool:
        return self._journal.keep_up(self.fault is not None, connection)
