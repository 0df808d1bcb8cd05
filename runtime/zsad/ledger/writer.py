"""The one thread that writes to the disk, so that a disk that hangs never holds up inference."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from zsad.errors import InputError, LedgerError
from zsad.ledger.job import Job

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_QUEUE_LENGTH = 64
_UPKEEP_EVERY_S = 1.0
_UPKEEP_AGAIN_S = 0.05
_FAILURES = (sqlite3.Error, OSError, InputError)


class Writer:
    """Runs jobs on a connection of its own, one after the other, and upkeep between them.

    After a failure the connection is opened anew for the next job: a disk that has space again, or
    was mounted again, is used again without a restart.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        reopen: Callable[[], sqlite3.Connection],
        upkeep: Callable[[sqlite3.Connection], bool],
        check: Callable[[], None],
        where: str,
    ) -> None:
        """Write nothing yet; `start` begins.

        Args:
            connection: What to write to; the writer closes it.
            reopen: Opens another after a failure.
            upkeep: What is to be done between jobs; true where there is more of it.
            check: Raises InputError or OSError where what is written would not be found again;
                asked before and after everything that is written.
            where: The ledger's name, for errors.
        """
        self._connection: sqlite3.Connection | None = connection
        self._reopen = reopen
        self._upkeep = upkeep
        self._check = check
        self._where = where
        self._jobs: queue.Queue[Job[Any] | None] = queue.Queue(_QUEUE_LENGTH)
        self._hanging = False
        self._bug: BaseException | None = None
        self.fault: str | None = None
        self._thread = threading.Thread(target=self._serve, name="zsad-ledger-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        timeout_s: float,
        keep: Callable[[T], None] = lambda result: None,
        lose: Callable[[BaseException], None] = lambda error: None,
    ) -> T:
        """Return what `work` returns on the writer's thread.

        Args:
            work: What is written; it commits by itself.
            timeout_s: How long to wait for it.
            keep: Called on the writer's thread with the result, if it came in time.
            lose: Called once with what is raised, where it did not; from either thread, and before
                the writer does anything else.

        Raises:
            LedgerError: It could not be written, or not in time. While a job that nobody waits for
                any more still hangs, others fail at once.
        """

        def abandon() -> LedgerError:
            self._hanging = True
            return self._given_up(f"did not take a write within {timeout_s:g} s")

        job, start_s = Job(work, keep, lose), time.monotonic()
        try:
            self._admit(job, timeout_s)
        except LedgerError as error:
            lose(error)
            raise
        job.wait(max(0.0, timeout_s - (time.monotonic() - start_s)), abandon)
        return job.result()

    def _admit(self, job: Job[Any], timeout_s: float) -> None:
        if self._bug is not None:
            raise LedgerError(f"{self._where}: its writer has ended: {self._bug}") from self._bug
        if not self._thread.is_alive():
            raise LedgerError(f"{self._where} is closed")
        if self._hanging:
            raise self._given_up("still hangs")
        try:
            self._jobs.put(job, timeout=timeout_s)
        except queue.Full:
            raise self._given_up("has too much to write") from None

    def stop(self, deadline_s: float) -> bool:
        """Finish what is queued, close the connection and join the thread; false if it hangs.

        It begins even if no time is left for it.
        """
        end = time.monotonic() + deadline_s
        try:
            self._jobs.put(None, timeout=max(0.0, deadline_s))
        except queue.Full:
            return False
        self._thread.join(max(0.0, end - time.monotonic()))
        return not self._thread.is_alive()

    def _given_up(self, what: str) -> LedgerError:
        self.fault = f"{self._where}: the disk {what}"
        return LedgerError(f"{self.fault}: see to it")

    def _serve(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            _LOG.exception("%s: its writer ended", self._where)
            self._bug = error
        finally:
            self._drop_connection()

    def _loop(self) -> None:
        upkeep_at, again = time.monotonic(), False
        while True:
            self._hanging = False
            wait_s = _UPKEEP_AGAIN_S if again else _UPKEEP_EVERY_S
            try:
                job = self._jobs.get(timeout=wait_s)
            except queue.Empty:
                pass
            else:
                if job is None:
                    self._do(self._upkeep)
                    return
                if not job.abandoned:
                    self._do_job(job)
            if time.monotonic() - upkeep_at >= wait_s:
                again = self._do(self._upkeep)
                upkeep_at = time.monotonic()

    def _do_job(self, job: Job[Any]) -> None:
        try:
            result = self._checked(job.work)
        except _FAILURES as error:
            job.fail(self._failed(error))
        except BaseException as error:  # ours: whoever waits for it has to see it
            self._drop_connection()
            if not job.fail(error):
                raise
        else:
            self.fault = None
            job.settle(result)

    def _do(self, upkeep: Callable[[sqlite3.Connection], bool]) -> bool:
        known = self.fault
        try:
            more = self._checked(upkeep)
        except _FAILURES as error:
            if str(failed := self._failed(error)) != known:  # once, not every second
                _LOG.warning("%s", failed)
            return False
        self.fault = None
        return more

    def _checked(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._open()
        self._check()
        result = work(connection)
        self._check()  # what was taken away meanwhile took the result with it
        return result

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._reopen()
        return self._connection

    def _failed(self, error: Exception) -> LedgerError:
        self._drop_connection()
        self.fault = f"{self._where} cannot be written: {error}"
        return LedgerError(self.fault)

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                _LOG.warning("%s could not be closed: %s", self._where, error)
