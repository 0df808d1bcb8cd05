"""The parts of a line, made from its configuration and joined; nothing runs yet."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zsad.inspection.parts import PartCollator
from zsad.ledger import Ledger
from zsad.line.accounts import Accounts
from zsad.line.archive import Archive
from zsad.line.changes import AuditTrail, audit_changes, engine_event, parked_event
from zsad.line.config import LineConfig
from zsad.line.drift import DriftWatch
from zsad.line.engine import Batcher, Engine
from zsad.line.evidence import Evidence
from zsad.line.judged_files import JudgedFiles
from zsad.line.judges import LineJudges
from zsad.line.latency import Latencies
from zsad.line.monitor import Monitor
from zsad.line.recipes import cameras_as_calibrated, read_recipes
from zsad.line.record import VerdictRecord
from zsad.line.recorder import Recorder
from zsad.line.status import SinkHealth
from zsad.sinks import Courier, open_sinks
from zsad.sources import Camera, open_camera
from zsad.sources.health import Counts, SourceHealth

if TYPE_CHECKING:
    from zsad.sinks.server import StatusServer

LOG = logging.getLogger(__name__)

_PATIENCE_S = 60.0
_ENGINE_MEMORY = "engine.json"


class Assembly:
    """Every part of one line.

    Attributes:
        config: The line.
        ledger: Its ledger, open.
        latencies: How long everything takes.
        monitor: What the line can promise.
        cameras: Its cameras by name.
        files: Which files of its watched folders were judged; None where it watches none.
        accounts: Where every frame went.
        audit: What has to be written into the ledger's audit.
        recorder: The work of the recorder's thread.
        engine: The work of the engine's thread.
        couriers: Who is told.
        server: Where state is asked for; None without one.
    """

    def __init__(self, config: LineConfig, effective: str, watchdog_s: float | None = None) -> None:
        """Open the ledger and make every part.

        Args:
            config: The line.
            effective: Its configuration as text without secrets, for the audit.
            watchdog_s: How often there must be progress; None where nobody waits for it.

        Raises:
            InputError: Something that the configuration names cannot be used.
            LedgerError: The audit cannot be written.
        """
        self.config = config
        self._recipes = read_recipes(config)
        folder = Path(config.ledger_folder)
        self.ledger = Ledger.open(folder, config.ledger)
        self.files: JudgedFiles | None = None
        try:
            audit_changes(self.ledger, folder, effective, self._recipes)
            self._make_accounts()
            self._make_threads(folder / _ENGINE_MEMORY, watchdog_s or float("inf"))
            self._make_consumers()
        except BaseException:
            if self.files is not None:
                self.files.close()
            self.ledger.close()
            raise

    def _make_accounts(self) -> None:
        config = self.config
        configs = cameras_as_calibrated(config, self._recipes)
        folders = {each.name for each in configs if each.resolved_kind == "folder"}
        if folders:
            self.files = JudgedFiles(Path(config.ledger_folder), folders)
        cameras = [
            open_camera(
                each,
                lambda: self._batcher.wake(),
                self.files.of(each.name) if self.files and each.name in folders else None,
            )
            for each in configs
        ]
        self.cameras = {camera.name: camera for camera in cameras}
        self.latencies = Latencies()
        healths = {camera.name: _health_of(camera) for camera in cameras}
        self.monitor = Monitor(config.line, healths, self.latencies, hang_s=config.engine.hang_s)
        self.audit = AuditTrail(self.ledger, self.monitor)
        counts = {camera.name: _counts_of(camera) for camera in cameras}
        patience_s = max(_PATIENCE_S, 2e-3 * (config.takt_ms or 0.0))
        self.accounts = Accounts(counts, time.monotonic, patience_s)
        self.monitor.account_by(self.accounts.balances)
        self._batcher = Batcher(cameras, self.accounts, config.engine)

    def _make_threads(self, memory: Path, watchdog_s: float) -> None:
        config = self.config
        self._archive = Archive(self.ledger)
        self.recorder = Recorder(
            config.line,
            PartCollator(config.parts),
            self._commit,
            self.accounts,
            self.monitor,
            self.latencies,
            takt_ms=config.takt_ms,
            dry_run=config.dry_run,
            seen=self._make_drift_watch(),
        )
        self.engine = Engine(
            lambda: LineJudges(
                config,
                self._recipes,
                self.monitor,
                lambda change: self.audit.leave(engine_event(config.line, change)),
                self.recorder.doubts.begin,
                memory,
            ),
            self._batcher,
            self.recorder.inbox.begun,
            self.recorder.inbox.judged,
            self.monitor.beat,
            self.monitor.ready,
            config.takt_ms,
            min(config.engine.idle_check_s, watchdog_s / 4),
        )

    def _commit(self, record: VerdictRecord, evidence: Sequence[Evidence]) -> VerdictRecord:
        committed = self._archive.commit(record, evidence)
        if self.files is not None:
            self.files.note(committed, [one.taken.frame for one in evidence])
        return committed

    def _make_drift_watch(self) -> Callable[[Evidence], None]:
        drift = self.config.watch.drift
        if drift is None:
            return lambda evidence: None
        return DriftWatch(self.config, self._recipes, drift, self.monitor).observe

    def _make_consumers(self) -> None:
        self.couriers = open_sinks(
            self.config.sinks,
            self.ledger,
            self.monitor.status,
            trigger=self.trigger if self.config.is_triggered else None,
            on_acknowledged=self.recorder.acknowledged,
            on_parked=lambda *parked: self.audit.leave(parked_event(*parked)),
        )
        self.monitor.deliver_to({each.name: _delivery_of(each) for each in self.couriers})
        self.server: StatusServer | None = None
        if self.config.server is not None:
            from zsad.sinks.server import StatusServer  # it needs an extra

            self.server = StatusServer(
                self.config.server, self.monitor.status, self._archive.latest_jpeg
            )

    def trigger(self, part: str) -> bool:
        """Begin a part: ask every camera that waits for triggers for a frame of it.

        A trigger that was taken gets its verdict by the takt, whether or not a frame ever comes.

        Returns:
            Whether it was taken. If not, nothing was begun, and it may come again at once: no
            camera takes it, its id is that of a part without a verdict, or too much is waiting.
        """
        # First, since a part that began after its own verdict would wait for frames in vain.
        begun_s = self.recorder.inbox.expect(part)
        if begun_s is None:
            return False
        waiting = [c.name for c in self.config.cameras if c.trigger == "software"]
        taken = any([self.cameras[name].trigger(part) for name in waiting])
        if not taken:
            LOG.warning("trigger %s is refused: no camera takes it", part)
            self.recorder.inbox.withdraw(part, begun_s)
        return taken


def _health_of(camera: Camera) -> Callable[[], SourceHealth]:
    return lambda: camera.health


def _counts_of(camera: Camera) -> Callable[[], Counts]:
    return lambda: camera.health.counts


def _delivery_of(courier: Courier) -> Callable[[], SinkHealth]:
    return lambda: courier.health
