"""Whether a ledger's files are still the ones that this process opened.

A file that was deleted or moved goes on taking writes, which nobody will find; a lock on one keeps
nobody out.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from zsad.errors import InputError
from zsad.ledger.database import FILE
from zsad.ledger.pictures import sync_folder

LOCK = "ledger.lock"

_LOG_FILES = (f"{FILE}-wal", f"{FILE}-shm")
_Identity = tuple[int, int]  # device and inode


class HeldFiles:
    """Compares what lies in the folder with what was opened; safe to call from every thread."""

    def __init__(self, root: Path, lock: int) -> None:
        """Hold on to what lies in the folder now.

        Args:
            root: The ledger's folder; its database exists.
            lock: The descriptor of its lock, which stays the caller's.

        Raises:
            InputError: The lock was replaced since it was taken.
            OSError: The disk refused.
        """
        self._root = root
        # While the descriptor is there nothing else gets its inode, and to close one of O_PATH
        # does not let go of SQLite's locks, as to close any other would.
        self._database = os.open(root / FILE, os.O_PATH | os.O_CLOEXEC)
        self._identities = {LOCK: _identity(os.fstat(lock))}
        self._identities[FILE] = _identity(os.fstat(self._database))
        self._log: dict[str, _Identity] = {}
        try:
            self.note_log()
            self.check()
        except BaseException:
            self.close()
            raise

    def note_log(self) -> None:
        """Remember the files of the write-ahead log; each connection may have made them anew.

        Raises:
            OSError: The disk refused.
        """
        self._log = {name: _identity(os.stat(self._root / name)) for name in _LOG_FILES}

    def check(self) -> None:
        """Refuse a folder that no longer holds the lock and the database.

        Raises:
            InputError: Neither can be written to any more.
            OSError: The disk refused.
        """
        self._compare(self._identities)

    def check_log(self) -> None:
        """Refuse a write-ahead log that the database would not find after a crash.

        Raises:
            InputError: It was replaced since `note_log`.
            OSError: The disk refused.
        """
        self._compare(self._log)

    def close(self) -> None:
        """Let go of the database; once."""
        os.close(self._database)

    def _compare(self, identities: dict[str, _Identity]) -> None:
        for name, identity in identities.items():
            try:
                same = _identity(os.stat(self._root / name)) == identity
            except FileNotFoundError:
                same = False
            if not same:
                raise InputError(
                    f"{name} was deleted, moved or replaced under the running line: put it back,"
                    " or restart the line"
                )


def lock_folder(root: Path) -> int:
    """Return the descriptor that holds the folder for this process; the kernel frees it.

    Raises:
        InputError: Another process holds it, or the folder cannot be written.
    """
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


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino
