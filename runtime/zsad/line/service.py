"""The daemon: puts the parts of a line together, runs them, and takes them apart again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zsad.errors import ZsadError
from zsad.inspection.parts import PartCollator
from zsad.ledger import AuditEvent, Ledger
from zsad.line.accounts import Accounts
from zsad.line.archive import Archive
from zsad.line.changes import audit_changes
from zsad.line.config import LineConfig
from zsad.line.drift import DriftWatch
from zsad.line.engine import Batcher, Engine
from zsad.line.judges import LineJudges
from zsad.line.latency import Latencies
from zsad.line.monitor import Monitor
from zsad.line.recorder import Evidence, Recorder
from zsad.line.status import SinkHealth
from zsad.line.systemd import Notifier
from zsad.line.threads import Worker
from zsad.sinks import Courier, open_sinks
from zsad.sources import Camera, open_camera
from zsad.sources.health import Counts, SourceHealth, SourceState
from zsad.watch.parity import EngineChange

if TYPE_CHECKING:
    from zsad.sinks.server import StatusServer

LOG = logging.getLogger(__name__)

STOP_WITHIN_S = 5.0

_ENGINE_S, _RECORDER_S, _SINKS_S = 1.5, 1.0, 1.0  # shares of it; what is left is for the ledger
_SLACK_S = 0.2
_PATIENCE_S = 60.0
_TICK_S = 1.0
_POLL_S = 0.1
_ENGINE_MEMORY = "engine.json"

StopRequest = Callable[[], bool]


class Line:
    """One line: `start`, `run` and `stop`, all from the thread that made it."""

    def __init__(self, config: LineConfig, effective: str, notifier: Notifier) -> None:
        """Open the ledger and make every part; nothing runs yet.

        Args:
            config: The line.
            effective: Its configuration as text without secrets, for the audit.
            notifier: How systemd is told.

        Raises:
            InputError: Something that the configuration names cannot be used.
            LedgerError: The audit cannot be written.
        """
        self._config = config
        self._notifier = notifier
        self._folder = Path(config.ledger_folder)
        self._ledger = Ledger.open(self._folder, config.ledger)
        try:
            audit_changes(self._ledger, self._folder, config, effective)
            self._make_parts()
        except BaseException:
            self._ledger.close()
            raise
        self._fed = self._told = ""

    def _make_parts(self) -> None:
        config = self._config
        self.latencies = Latencies()
        cameras = [open_camera(camera, lambda: self._batcher.wake()) for camera in config.cameras]
        self._cameras = {camera.name: camera for camera in cameras}
        healths = {camera.name: _health_of(camera) for camera in cameras}
        counts = {camera.name: _counts_of(camera) for camera in cameras}
        self.monitor = Monitor(config.line, healths, self.latencies, hang_s=config.engine.hang_s)
        patience_s = max(_PATIENCE_S, 2e-3 * (config.takt_ms or 0.0))
        self.accounts = Accounts(counts, time.monotonic, patience_s)
        self._batcher = Batcher(cameras, self.accounts, config.engine)
        self._archive = Archive(self._ledger)
        self._recorder = self._make_recorder()
        self._engine = self._make_engine()
        self._couriers = self._make_couriers()
        self._server = self._make_server()
        self._engine_thread = Worker("engine", self._engine.run, self.monitor.died)
        self._recorder_thread = Worker("recorder", self._recorder.run, self.monitor.died)

    def _make_recorder(self) -> Recorder:
        return Recorder(
            self._config.line,
            PartCollator(self._config.parts),
            self._archive.commit,
            self.accounts,
            self.monitor,
            self.latencies,
            takt_ms=self._config.takt_ms,
            dry_run=self._config.dry_run,
            seen=self._make_drift_watch(),
        )

    def _make_drift_watch(self) -> Callable[[Evidence], None]:
        drift = self._config.watch.drift
        if drift is None:
            return lambda evidence: None
        return DriftWatch(self._config, drift, self.monitor).observe

    def _make_engine(self) -> Engine:
        memory = self._folder / _ENGINE_MEMORY
        watchdog_s = self._notifier.watchdog_s or float("inf")
        return Engine(
            lambda: LineJudges(self._config, self.monitor, self._audit_engine, memory),
            self._batcher,
            self._recorder.begun,
            self._recorder.judged,
            self.monitor.beat,
            self.monitor.ready,
            self._config.takt_ms,
            min(self._config.engine.idle_check_s, watchdog_s / 4),
        )

    def _make_couriers(self) -> list[Courier]:
        couriers = open_sinks(
            self._config.sinks,
            self._ledger,
            self.monitor.status,
            trigger=self.trigger if self._config.is_triggered else None,
            on_acknowledged=self._recorder.acknowledged,
        )
        self.monitor.deliver_to({courier.name: _delivery_of(courier) for courier in couriers})
        return couriers

    def _make_server(self) -> StatusServer | None:
        if self._config.server is None:
            return None
        from zsad.sinks.server import StatusServer  # it needs an extra

        return StatusServer(self._config.server, self.monitor.status, self._archive.latest_jpeg)

    def trigger(self, part: str) -> bool:
        """Begin a part: ask every camera that waits for triggers for a frame of it.

        Returns:
            Whether any camera takes one; if none does, no part begins.
        """
        waiting = [c.name for c in self._config.cameras if c.trigger == "software"]
        took = [self._cameras[name].trigger(part) for name in waiting]
        return any(took) and self._recorder.expect(part)

    def start(self, stop: StopRequest = lambda: False) -> bool:
        """Start everything, consumers first, so that they see `starting`; cameras last.

        Returns:
            False if a stop was asked for before the engine was ready.

        Raises:
            ZsadError: The engine cannot be loaded, or an address cannot be listened on.
        """
        for courier in self._couriers:
            courier.start()
        if self._server is not None:
            self._server.start()
        self._recorder_thread.start()
        self._engine_thread.start()
        while not self.monitor.is_ready:
            if stop():
                return False
            self._engine_thread.join(_POLL_S)
            if isinstance(self._engine_thread.error, ZsadError):
                raise self._engine_thread.error
            if self._engine_thread.error is not None:
                raise RuntimeError("the engine's thread died") from self._engine_thread.error
        for camera in self._cameras.values():
            camera.start()
        self._notifier.ready(f"{self._config.line}: {len(self._cameras)} cameras")
        LOG.info("line %s is ready", self._config.line)
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
        breaches = self.accounts.check()
        self.monitor.breached(len(breaches))
        self._condition("accounts", "; ".join(breaches) or None)
        self._condition("ledger", self._ledger.fault)
        beat = str(self.monitor.heartbeat)
        # Whatever died stays dead until a restart, which is the watchdog's to bring about.
        if beat != self._fed and self.monitor.is_whole:
            self._fed = beat
            self._notifier.alive()
        status = self.monitor.status()
        told = "; ".join((status.state.value, *status.reasons))
        if told != self._told:
            self._told = told
            LOG.info("line %s: %s", self._config.line, told)
            self._notifier.status(told)

    def _condition(self, key: str, reason: str | None) -> None:
        if reason is None:
            self.monitor.clear_condition("fault", key)
        else:
            self.monitor.raise_condition("fault", key, reason)

    def _is_over(self) -> bool:
        healths = [camera.health for camera in self._cameras.values()]
        ended = all(health.state is SourceState.ENDED for health in healths)
        waiting = sum(health.counts.waiting for health in healths)
        return ended and not waiting and not self.accounts.in_flight

    def stop(self) -> bool:
        """Finish what is in flight, then end and join everything, within `STOP_WITHIN_S`.

        Returns:
            Whether everything ended; what hangs in a native call is left to the process's end.
        """
        begin_s = time.monotonic()
        self.monitor.stopping()
        self._notifier.stopping()
        closing = _begin({name: camera.close for name, camera in self._cameras.items()})
        self._engine.stop()
        ended = [self._engine_thread.end(_ENGINE_S)]
        self._recorder.finish(0.1 if self._recorder_thread.is_alive() else 0.0)
        ended.append(self._recorder_thread.end(_RECORDER_S))
        ended += _together({c.name: _stop_of(c) for c in self._couriers}, _SINKS_S + _SLACK_S)
        last: dict[str, Callable[[], object]] = {"ledger": self._ledger.close}
        if self._server is not None:
            last["server"] = self._server.stop
        left_s = begin_s + STOP_WITHIN_S - _SLACK_S - time.monotonic()
        ended += _together(last, left_s)
        ended += [each.end(0.0) for each in closing]
        LOG.info("line %s stopped in %.1f s", self._config.line, time.monotonic() - begin_s)
        return all(ended)

    def _audit_engine(self, change: EngineChange) -> None:
        what = f"engine of {self._config.line}"
        event = AuditEvent("engine", "zsad-run", what, change.reason, change.before, change.after)
        try:
            self._ledger.audit(event)
        except ZsadError as error:
            # Judging goes on: an engine that was ruled out must not come back for want of a row.
            self.monitor.raise_condition("fault", "audit", f"the audit cannot be written: {error}")


def _health_of(camera: Camera) -> Callable[[], SourceHealth]:
    return lambda: camera.health


def _counts_of(camera: Camera) -> Callable[[], Counts]:
    return lambda: camera.health.counts


def _delivery_of(courier: Courier) -> Callable[[], SinkHealth]:
    return lambda: courier.health


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
