"""One thing to write, between the thread that waits for it and the one that writes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from zsad.errors import LedgerError

T = TypeVar("T")


class Job(Generic[T]):
    """Something to write, and somebody who waits for it until patience ends.

    Attributes:
        work: What is to be done with the connection.
        abandoned: Whether nobody waits any more.
    """

    def __init__(
        self,
        work: Callable[[sqlite3.Connection], T],
        keep: Callable[[T], None],
        lose: Callable[[BaseException], None],
    ) -> None:
        """Begin; see `zsad.ledger.writer.Writer.run` for the arguments."""
        self.work = work
        self._lose = lose
        self._keep = keep
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.abandoned = False

    def wait(self, timeout_s: float, abandon: Callable[[], LedgerError]) -> bool:
        """Whether it was done in time; if not, its result will count as not said.

        `abandon` says why, and is called before a late end of the job can be seen by anyone.
        """
        self._done.wait(timeout_s)
        with self._lock:
            if not self._done.is_set():
                self._error = abandon()
                self._lose(self._error)
                self.abandoned = True  # last, since the writer reads it without the lock
        return not self.abandoned

    def settle(self, result: T) -> None:
        """It was done; nothing happens where nobody waits any more."""
        with self._lock:
            if not self.abandoned:
                self._keep(result)
                self._result.append(result)
                self._done.set()

    def fail(self, error: BaseException) -> bool:
        """It was not done; whether somebody was still there to be told."""
        with self._lock:
            if not self.abandoned:
                self._error = error
                self._lose(error)
                self._done.set()
        return not self.abandoned

    def result(self) -> T:
        """Return the result, or raise why there is none."""
        if self._error is not None:
            raise self._error
        return self._result[0]
