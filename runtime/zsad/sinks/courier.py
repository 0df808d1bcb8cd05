"""The thread between outbox and sink: in order, at least once, for ever."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from zsad.backoff import Backoff, BackoffConfig
from zsad.credentials import mask_credentials
from zsad.errors import ZsadError
from zsad.line.record import VerdictRecord
from zsad.line.status import SinkHealth
from zsad.sinks.base import OutboxLike, RefusedError, Sink, SinkError
from zsad.sinks.place import Place

_log = logging.getLogger(__name__)

OnAcknowledged = Callable[[str, VerdictRecord, float], None]
"""Told of (sink, record, second of the monotonic clock) for every acknowledged record."""
OnParked = Callable[[str, VerdictRecord, str], None]
"""Told of (sink, record, reason) for every record that a sink refused for good."""

_NOTHING_TAKEN_S = 0.05
_COUNT_S = 1.0  # between two counts of what waits for a sink that is down
_PARK_AFTER = 3  # refusals; one may be a server that was just being replaced


class Courier:
    """Carries committed verdicts to one sink, in a thread of its own.

    Nothing here is seen by the engine: the sink may hang, refuse or be gone for days, and what it
    missed waits in the outbox. A record may reach the sink twice, after an error and never
    otherwise; its `seq` tells.
    """

    def __init__(
        self,
        sink: Sink,
        outbox: OutboxLike,
        backoff: BackoffConfig,
        on_acknowledged: OnAcknowledged = lambda sink, record, at_s: None,
        on_parked: OnParked = lambda sink, record, reason: None,
    ) -> None:
        """Join a sink with its place in the outbox; `start` sets it going.

        Args:
            sink: The consumer.
            outbox: The ledger.
            backoff: How long to wait after failures.
            on_acknowledged: Called from the courier's thread; must not block.
            on_parked: Likewise.
        """
        self.name = sink.name
        self._sink = sink
        self._place = Place(sink.name, outbox)
        self._backoff = Backoff(backoff)
        self._on_acknowledged = on_acknowledged
        self._on_parked = on_parked
        self._health = SinkHealth(up=False, detail="not yet connected", backlog=0, delivered=0)
        self._refusals = (0, 0)  # seq, and how often it was refused
        self._stop = threading.Event()
        self._stop_by_s = float("inf")
        self._thread = threading.Thread(target=self._run, name=f"courier-{self.name}", daemon=True)

    @property
    def health(self) -> SinkHealth:
        """How the sink is doing."""
        return self._health

    def start(self) -> None:
        """Register the sink with the outbox and begin.

        Raises:
            LedgerError: The outbox takes no new sink.
        """
        self._place.register()
        self._thread.start()

    def stop(self, deadline_s: float) -> bool:
        """Deliver what is still waiting, then close the sink.

        Args:
            deadline_s: Seconds after which what waits is left for the next start.

        Returns:
            Whether the thread has ended; one that hangs in a network call dies with the process.
        """
        return stop_couriers([self], deadline_s)

    def _ask_to_stop(self, by_s: float) -> None:
        self._stop_by_s = by_s
        self._stop.set()

    def _join(self, by_s: float) -> bool:
        if self._thread.is_alive():
            self._thread.join(max(0.0, by_s - time.monotonic()))
        if self._thread.is_alive():
            _log.warning("sink %s did not stop in time: left behind", self.name)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._turn()
            # What was committed last is still worth a try, where trying has worked so far.
            while self._health.up and time.monotonic() < self._stop_by_s and self._turn():
                pass
        finally:
            self._close()

    def _turn(self) -> bool:
        """Deliver once, or wait; return whether something got across."""
        try:
            self._sink.open()
            waiting = self._place.ask()
            taken = self._sink.deliver(waiting) if waiting else 0
            self._acknowledge(taken)
        except RefusedError as refusal:
            return self._refused(refusal)
        except Exception as error:
            return self._failed(error)
        self._went_well()
        if not taken and waiting:
            self._stop.wait(_NOTHING_TAKEN_S)
        elif not taken:
            self._wait_for_more()
        return taken > 0

    def _acknowledge(self, count: int) -> None:
        """Keep that the sink has the first `count` of what is waiting, and tell."""
        at_s = time.monotonic()
        taken = self._place.acknowledge(count)
        if taken:
            health = self._health
            self._health = replace(health, delivered=health.delivered + len(taken))
        for record in taken:
            self._on_acknowledged(self.name, record, at_s)

    def _refused(self, refusal: RefusedError) -> bool:
        """Try a refused record a few times, then go on without it."""
        try:
            self._acknowledge(refusal.position)
            record = self._place.waiting[0]
            count = self._refusals[1] + 1 if self._refusals[0] == record.seq else 1
            self._refusals = (record.seq, count)
            if count < _PARK_AFTER:
                self._wait_out(f"refused verdict {record.seq}: {refusal.detail}", refusal.retry_s)
                return False
            self._park(record, refusal.detail)
        except Exception as error:
            return self._failed(error)
        return True

    def _failed(self, error: Exception) -> bool:
        """Wait out what a sink, the outbox or a callback raised; none of it ends deliveries."""
        self._place.forget()
        if isinstance(error, SinkError):
            self._wait_out(str(error), error.retry_s)
        elif isinstance(error, ZsadError):
            self._wait_out(mask_credentials(f"failed: {error}"), None)
        else:  # a bug of ours
            _log.exception("sink %s failed", self.name)
            self._wait_out(mask_credentials(f"failed: {type(error).__name__}: {error}"), None)
        return False

    def _park(self, record: VerdictRecord, reason: str) -> None:
        _log.error("sink %s refused verdict %d for good: %s", self.name, record.seq, reason)
        self._on_parked(self.name, record, reason)
        self._place.acknowledge(1)
        self._backoff.reset()
        health = self._health
        self._health = replace(
            health,
            parked=health.parked + 1,
            detail=f"refused verdict {record.seq} for good: {reason}",
            backlog=self._backlog(),
        )

    def _went_well(self) -> None:
        self._backoff.reset()
        health = self._health
        if not health.up:
            _log.info("sink %s is up", self.name)
        parked = f", {health.parked} refused for good" if health.parked else ""
        self._health = replace(
            health,
            up=True,
            detail=("delivering" if health.delivered else "ready") + parked,
            backlog=self._backlog(),
        )

    def _wait_out(self, detail: str, retry_s: float | None) -> None:
        health = self._health
        if health.up or health.detail != detail:
            _log.warning("sink %s is down: %s", self.name, detail)
        self._health = replace(health, up=False, detail=detail, backlog=self._backlog())
        until_s = time.monotonic() + (self._backoff.next_s() if retry_s is None else retry_s)
        while (left_s := until_s - time.monotonic()) > 0:
            if self._stop.wait(min(left_s, _COUNT_S)):
                return
            self._health = replace(self._health, backlog=self._backlog())

    def _backlog(self) -> int:
        try:
            return self._place.backlog()
        except Exception:  # the outbox is what failed; the last number is the best there is
            return self._health.backlog

    def _wait_for_more(self) -> None:
        if self._place.wait_for_more() and not self._stop.is_set():
            self._place.pass_over()

    def _close(self) -> None:
        try:
            self._sink.close()
        except Exception:  # closing what is broken may fail; nothing is left to do about it
            _log.exception("sink %s did not close in good order", self.name)


def stop_couriers(couriers: Sequence[Courier], deadline_s: float) -> bool:
    """Stop couriers all at once, within one deadline; see `Courier.stop`."""
    by_s = time.monotonic() + deadline_s
    for courier in couriers:
        courier._ask_to_stop(by_s)
    return all([courier._join(by_s) for courier in couriers])
