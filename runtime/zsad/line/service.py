"""The daemon: runs the parts of a line, watches over them, and takes them apart again."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping

from zsad.errors import ZsadError
from zsad.line.assembly import Assembly
from zsad.line.systemd import Notifier
from zsad.line.threads import Worker
from zsad.sinks import Courier
from zsad.sources.health import SourceState

LOG = logging.getLogger(__name__)

STOP_WITHIN_S = 5.0

_ENGINE_S, _RECORDER_S, _SINKS_S = 2.0, 1.0, 1.0  # shares of it; what is left is for the ledger
_CAMERAS_S = 3.0  # beside these
_SLACK_S = 0.2
_TICK_S = 1.0
_POLL_S = 0.1
_NUMBER = re.compile(r"[\d.]+")

StopRequest = Callable[[], bool]


class Line:
    """One line: `start`, `run` and `stop`, all from one thread."""

    def __init__(self, parts: Assembly, notifier: Notifier) -> None:
        """Run `parts`, and tell systemd through `notifier`."""
        self.parts = parts
        self._name = parts.config.line
        self._notifier = notifier
        self._engine_thread = Worker("engine", parts.engine.run, parts.monitor.died)
        self._recorder_thread = Worker("recorder", parts.recorder.run, parts.monitor.died)
        self._fed = self._told = ""

    def start(self, stop: StopRequest = lambda: False) -> bool:
        """Start everything, consumers first, so that they see `starting`; cameras last.

        Returns:
            False if a stop was asked for before the engine was ready.

        Raises:
            ZsadError: The engine cannot be loaded, or an address cannot be listened on.
        """
        for courier in self.parts.couriers:
            courier.start()
        if self.parts.server is not None:
            self.parts.server.start()
        self._recorder_thread.start()
        self._engine_thread.start()
        while not self.parts.monitor.is_ready:
            if stop():
                return False
            self._engine_thread.join(_POLL_S)
            if isinstance(self._engine_thread.error, ZsadError):
                raise self._engine_thread.error
            if self._engine_thread.error is not None:
                raise RuntimeError("the engine's thread died") from self._engine_thread.error
        for camera in self.parts.cameras.values():
            camera.start()
        self._notifier.ready(f"{self._name}: {len(self.parts.cameras)} cameras")
        LOG.info("line %s is ready", self._name)
        return True

    def run(self, stop: StopRequest) -> None:
        """Watch over the line until a stop is asked for or every camera has ended."""
        tick_s = min(_TICK_S, (self._notifier.watchdog_s or 4.0) / 4)
        waiting = threading.Event()
        next_s = time.monotonic()
        while not stop() and not self._is_over():
            if time.monotonic() >= next_s:
                self._tick()
                next_s = time.monotonic() + tick_s
            waiting.wait(_POLL_S)

    def _tick(self) -> None:
        breaches = self.parts.accounts.check()
        self.parts.monitor.breached(len(breaches))
        self._condition("accounts", "; ".join(breaches) or None)
        self._condition("ledger", self.parts.ledger.fault or self.parts.recorder.refusal)
        self.parts.audit.retry()
        beat = str(self.parts.monitor.heartbeat)
        # Whatever died stays dead until a restart, which is the watchdog's to bring about.
        if beat != self._fed and self.parts.monitor.is_whole:
            self._fed = beat
            self._notifier.alive()
        status = self.parts.monitor.status()
        told = "; ".join((status.state.value, *status.reasons))
        if told != self._told:
            self._notifier.status(told)
        # "silent for 3 s", "silent for 4 s": the log has it once.
        if _NUMBER.sub("", told) != _NUMBER.sub("", self._told):
            LOG.info("line %s: %s", self._name, told)
        self._told = told

    def _condition(self, key: str, reason: str | None) -> None:
        if reason is None:
            self.parts.monitor.clear_condition("fault", key)
        else:
            self.parts.monitor.raise_condition("fault", key, reason)

    def _is_over(self) -> bool:
        healths = [camera.health for camera in self.parts.cameras.values()]
        ended = all(health.state is SourceState.ENDED for health in healths)
        waiting = sum(health.counts.waiting for health in healths)
        return ended and not waiting and not self.parts.accounts.in_flight

    @property
    def is_loading(self) -> bool:
        """Whether the engine is being loaded, a native call that nothing can cut short."""
        return self._engine_thread.is_alive() and not self.parts.monitor.is_ready

    def stop(self) -> bool:
        """Finish what is in flight, then end and join everything, within `STOP_WITHIN_S`.

        Returns:
            Whether everything ended; what hangs in a native call is left to the process's end. An
            engine that `is_loading` has nothing to finish, and counts as ended.
        """
        begin_s = time.monotonic()
        self.parts.monitor.stopping()
        self._notifier.stopping()
        closing = _begin({name: camera.close for name, camera in self.parts.cameras.items()})
        self.parts.engine.stop()
        ended = [self._engine_thread.end(_ENGINE_S) or self.is_loading]
        self.parts.recorder.inbox.finish(0.1 if self._recorder_thread.is_alive() else 0.0)
        ended.append(self._recorder_thread.end(_RECORDER_S))
        ended += _together({c.name: _stop_of(c) for c in self.parts.couriers}, _SINKS_S + _SLACK_S)
        until_s = begin_s + STOP_WITHIN_S - _SLACK_S
        last: dict[str, Callable[[], object]] = {"ledger": lambda: self._close_ledger(until_s)}
        if self.parts.server is not None:
            last["server"] = self.parts.server.stop
        ended += _together(last, until_s - time.monotonic())
        ended += [each.end(begin_s + _CAMERAS_S - time.monotonic()) for each in closing]
        LOG.info("line %s stopped in %.1f s", self._name, time.monotonic() - begin_s)
        return all(ended)

    def _close_ledger(self, until_s: float) -> None:
        self.parts.audit.retry()
        if self.parts.files is not None:
            self.parts.files.close()
        self.parts.ledger.close(max(0.0, until_s - _SLACK_S - time.monotonic()))


def _stop_of(courier: Courier) -> Callable[[], None]:
    def stop() -> None:
        courier.stop(_SINKS_S)

    return stop


def _begin(work: Mapping[str, Callable[[], object]]) -> list[Worker]:
    """Begin to close several parts at once, so that one that hangs costs no other its time."""
    workers = [Worker(f"close {name}", each, _ignore) for name, each in work.items()]
    for worker in workers:
        worker.start()
    return workers


def _together(work: Mapping[str, Callable[[], object]], within_s: float) -> list[bool]:
    """Close several parts at once, and return of each whether it was done in time."""
    until_s = time.monotonic() + within_s
    return [worker.end(until_s - time.monotonic()) for worker in _begin(work)]


def _ignore(name: str, error: BaseException) -> None:
    """The worker has logged it, and the line is about to end."""
