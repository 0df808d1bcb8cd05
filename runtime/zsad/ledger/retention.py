"""What is deleted, in what order, a little at a time; each time with a row in the audit.

Age is that of the ledger's own clock (see `zsad.ledger.clock`), so no step of the wall clock
deletes anything. A row goes before its files: what a crash leaves in between is swept at the start.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zsad.ledger import audit
from zsad.ledger.audit import AuditEvent
from zsad.ledger.clock import LedgerClock
from zsad.ledger.config import RetentionConfig
from zsad.ledger.database import first_seq_since, newest_seq, oldest_seq, transaction
from zsad.ledger.pictures import remove

_CHECK_EVERY_S = 60.0
_PICTURES_AT_ONCE = 32
_VERDICTS_AT_ONCE = 500
_DOWN_TO = 0.95
"""Of the limit, so that a full ledger deletes in batches rather than one picture at a time."""

_DAY_S = 86_400.0
_GIB = float(1 << 30)


def free_bytes(folder: Path) -> int:
    """Return what is free on the folder's disk."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class _Batch:
    """Pictures to delete: files with their sizes in bytes, the numbers they span, and why."""

    files: tuple[tuple[str, int], ...]
    first_seq: int
    last_seq: int
    why: str

    @property
    def size_bytes(self) -> int:
        return sum(size for _, size in self.files)


@dataclass(frozen=True)
class _Rule:
    """Which pictures may go: NG or not, below a number, and down to how many bytes."""

    why: str
    ng: bool
    below_seq: int
    excess_bytes: float = float("inf")


class Retention:
    """Deletes by age, by size and by free space; used on the writer's thread alone."""

    def __init__(
        self,
        root: Path,
        config: RetentionConfig,
        clock: LedgerClock,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        """Delete nothing yet.

        Args:
            root: The ledger's folder.
            config: What is kept.
            clock: The ledger's clock.
            free: Says how many bytes are free where the folder lies.
        """
        self._root = root
        self._config = config
        self._clock = clock
        self._free = free
        self._checked_s = float("-inf")
        self._stopped = False
        self.pictures_bytes = 0

    def measure(self, connection: sqlite3.Connection) -> None:
        """Take the size of all pictures from the database, once."""
        total = connection.execute("SELECT coalesce(sum(bytes), 0) FROM pictures").fetchone()[0]
        self.pictures_bytes = int(total)

    def takes_pictures(self) -> bool:
        """Whether there is enough space left to write any."""
        return self._free(self._root) >= self._config.free_gib * _GIB / 2

    def step(self, connection: sqlite3.Connection, acknowledged: int) -> bool:
        """Delete one batch if anything is due; true if there may be more.

        Args:
            connection: The database, outside a transaction.
            acknowledged: Verdicts up to this number are no longer waited for.
        """
        now_s = self._clock.now_s()
        pressed = self._excess_bytes() > 0
        if not pressed and now_s - self._checked_s < _CHECK_EVERY_S:
            return False
        self._note_stop(connection)
        batch = self._choose(connection, now_s)
        if batch is not None:
            self._delete_pictures(connection, batch)
            return True
        if self._delete_verdicts(connection, now_s, acknowledged):
            return True
        self._checked_s = now_s
        return False

    def _excess_bytes(self) -> float:
        """Return how far the pictures are over their size or over what leaves enough space."""
        config = self._config
        return max(
            self.pictures_bytes - config.pictures_gib * _GIB,
            config.free_gib * _GIB - self._free(self._root),
        )

    def _choose(self, connection: sqlite3.Connection, now_s: float) -> _Batch | None:
        for rule in self._rules(connection, now_s):
            if batch := _oldest(connection, rule):
                return batch
        return None

    def _rules(self, connection: sqlite3.Connection, now_s: float) -> Iterator[_Rule]:
        config = self._config
        for ng, days in ((False, config.pictures_days), (True, config.ng_pictures_days)):
            below = first_seq_since(connection, now_s - days * _DAY_S)
            yield _Rule(f"older than {days:g} days", ng, below)
        if (excess := self._excess_bytes()) <= 0:
            return
        over_size = self.pictures_bytes > config.pictures_gib * _GIB
        why = f"more than {config.pictures_gib:g} GiB" if over_size else "the disk is nearly full"
        if over_size:
            excess += (1 - _DOWN_TO) * config.pictures_gib * _GIB
        yield _Rule(why, False, newest_seq(connection) + 1, excess)
        yield _Rule(why, True, self._protected_seq(connection), excess)

    def _protected_seq(self, connection: sqlite3.Connection) -> int:
        """Return the number of the oldest NG part whose pictures stay whatever the space."""
        if self._config.ng_kept == 0:
            return newest_seq(connection) + 1
        query = "SELECT DISTINCT seq FROM pictures WHERE ng = 1 ORDER BY seq DESC LIMIT 1 OFFSET ?"
        found = connection.execute(query, (self._config.ng_kept - 1,)).fetchone()
        return 0 if found is None else int(found[0])

    def _delete_pictures(self, connection: sqlite3.Connection, batch: _Batch) -> None:
        what = (
            f"deleted {len(batch.files)} pictures ({batch.size_bytes} bytes) of verdicts"
            f" {batch.first_seq} to {batch.last_seq}"
        )
        with transaction(connection):
            connection.executemany(
                "DELETE FROM pictures WHERE file = ?", [(file,) for file, _ in batch.files]
            )
            self._audit(connection, what, batch.why)
        self.pictures_bytes -= batch.size_bytes
        remove(self._root, (file for file, _ in batch.files))

    def _delete_verdicts(
        self, connection: sqlite3.Connection, now_s: float, acknowledged: int
    ) -> bool:
        days = self._config.verdicts_days
        first = oldest_seq(connection)
        # The newest stays, so that numbers go on from it.
        end = min(
            first_seq_since(connection, now_s - days * _DAY_S),
            newest_seq(connection),
            acknowledged + 1,
            first + _VERDICTS_AT_ONCE,
        )
        if end <= first:
            return False
        with transaction(connection):
            connection.execute("DELETE FROM verdicts WHERE seq < ?", (end,))
            connection.execute("DELETE FROM acknowledgements WHERE last_seq < ?", (end,))
            what = f"deleted verdicts {first} to {end - 1}"
            self._audit(connection, what, f"older than {days:g} days")
        return True

    def _note_stop(self, connection: sqlite3.Connection) -> None:
        stopped = not self.takes_pictures()
        if stopped == self._stopped:
            return
        with transaction(connection):
            what = "pictures are no longer written" if stopped else "pictures are written again"
            half = self._config.free_gib / 2
            self._audit(connection, what, f"{'less' if stopped else 'more'} than {half:g} GiB free")
        self._stopped = stopped

    def _audit(self, connection: sqlite3.Connection, what: str, reason: str) -> None:
        audit.append(connection, AuditEvent("retention", "zsad", what, reason), self._clock.utc())


def _oldest(connection: sqlite3.Connection, rule: _Rule) -> _Batch | None:
    query = "SELECT file, bytes, seq FROM pictures WHERE ng = ? AND seq < ? ORDER BY seq LIMIT ?"
    values = (int(rule.ng), rule.below_seq, _PICTURES_AT_ONCE)
    taken: list[tuple[str, int, int]] = []
    left = rule.excess_bytes
    for file, size, seq in connection.execute(query, values):
        if left <= 0 and seq != taken[-1][2]:  # all of a part or none
            break
        taken.append((file, size, seq))
        left -= size
    if not taken:
        return None
    files = tuple((file, size) for file, size, _ in taken)
    return _Batch(files, taken[0][2], taken[-1][2], rule.why)
