"""What one line is: the model, its cameras, and how verdicts are reached, kept and told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from zsad.backends.table import BACKENDS
from zsad.errors import InputError
from zsad.inspection.config import PartConfig
from zsad.ledger.config import LedgerConfig
from zsad.precision import Precision
from zsad.sinks.config import ServerConfig, SinksConfig
from zsad.sources.config import CameraConfig
from zsad.watch.config import WatchConfig

_UNTRIGGERED_TAKT_S = 3600.0  # no part waits for views there


@dataclass(frozen=True)
class EngineConfig:
    """What runs the graph, and how cameras share it.

    Attributes:
        backend: One of `zsad.backends.BACKENDS`.
        precision: The graph to run; None takes one that every recipe covers, or else the most.
        threads: Threads of the CPU; None leaves the number to the engine.
        max_batch: Frames in one run at most; an engine must have been built for as many.
        max_wait_ms: How long the first frame of a batch waits for others. 0 takes what is there.
        idle_check_s: Without frames, the engine proves this often that it still answers.
        hang_s: No progress for this long is a fault.
        spin: Whether the threads of ONNX Runtime keep their cores while they wait for each other;
            false where decoders, other lines or programs want the cores, too (docs/cpu.md).
    """

    backend: str = "auto"
    precision: Precision | None = None
    threads: int | None = None
    max_batch: int = 4
    max_wait_ms: float = 0.0
    idle_check_s: float = 1.0
    hang_s: float = 10.0
    spin: bool = True

    def __post_init__(self) -> None:
        """Check the values."""
        if self.backend not in BACKENDS:
            raise InputError(f"backend '{self.backend}' is not one of {', '.join(BACKENDS)}")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads {self.threads} must be at least 1")
        if not 1 <= self.max_batch <= 64:
            raise InputError(f"max_batch {self.max_batch} is not from 1 to 64")
        if not 0 <= self.max_wait_ms <= 1000:
            raise InputError(f"max_wait_ms {self.max_wait_ms:g} is not from 0 to 1000")
        if not 0 < self.idle_check_s < self.hang_s / 2:
            raise InputError(
                f"idle_check_s {self.idle_check_s:g} must be above 0 and below half of hang_s"
                f" {self.hang_s:g}"
            )


@dataclass(frozen=True)
class LineConfig:
    """One line.

    Attributes:
        line: Its name, in every record.
        artifact: The artifact directory.
        cameras: Its cameras.
        ledger_folder: Where verdicts and pictures are kept.
        recipe: The recipe of every camera that `recipes` does not name; None gives scores
            without verdicts.
        recipes: Recipe by camera.
        engine: What runs the graph.
        views: Frames that each triggered part needs, by camera; a camera that is not named here
            does not look at triggered parts. Empty is one frame of each.
        takt_ms: Longest time from trigger or capture to the verdict, which is NO_RESULT then;
            None waits for ever, which triggered parts cannot.
        ledger: What the ledger keeps and for how long.
        sinks: Who is told.
        server: Where state, metrics and the latest picture are served; None serves nothing.
        watch: Golden frames and drift.
        dry_run: Whether verdicts are recorded and move nothing.
    """

    line: str
    artifact: str
    cameras: tuple[CameraConfig, ...]
    ledger_folder: str
    recipe: str | None = None
    recipes: Mapping[str, str] = field(default_factory=dict)
    engine: EngineConfig = field(default_factory=EngineConfig)
    views: Mapping[str, int] = field(default_factory=dict)
    takt_ms: float | None = None
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    sinks: SinksConfig = field(default_factory=SinksConfig)
    server: ServerConfig | None = None
    watch: WatchConfig = field(default_factory=WatchConfig)
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Check the values against each other."""
        if not self.line.strip():
            raise InputError("line: the line needs a name")
        for mqtt in self.sinks.mqtt.values():
            mqtt.base_topic(self.line)
        if not self.cameras:
            raise InputError("cameras: the line has none")
        names = Counter(camera.name for camera in self.cameras)
        if twice := [name for name, count in names.items() if count > 1]:
            raise InputError(f"cameras: two are named '{twice[0]}'")
        for key, table in (("recipes", self.recipes), ("views", self.views)):
            if strangers := sorted(set(table) - set(names)):
                raise InputError(f"{key}: no camera is named '{strangers[0]}'")
        if self.takt_ms is not None and not 0 < self.takt_ms < float("inf"):
            raise InputError(f"takt_ms {self.takt_ms:g} must be above 0")
        if self.is_triggered and self.takt_ms is None:
            raise InputError("takt_ms is missing: a triggered part needs an end of waiting")
        if self.is_triggered and self.takt_ms is not None:
            self.sinks.check_takt(self.takt_ms)
            self._check_trigger_delays(self.takt_ms)

    def _check_trigger_delays(self, takt_ms: float) -> None:
        for camera in self.cameras:
            if camera.trigger_delay_ms >= takt_ms:
                raise InputError(
                    f"cameras: {camera.name}: trigger_delay_ms {camera.trigger_delay_ms:g} leaves"
                    f" nothing of takt_ms {takt_ms:g}: every part would be NO_RESULT"
                )

    @property
    def is_triggered(self) -> bool:
        """Whether parts are told apart by triggers."""
        triggered = any(camera.trigger == "software" for camera in self.cameras)
        return triggered or bool(self.views)

    @property
    def parts(self) -> PartConfig:
        """The views of a part."""
        takt_s = _UNTRIGGERED_TAKT_S if self.takt_ms is None else self.takt_ms / 1e3
        return PartConfig(dict(self.views) or {c.name: 1 for c in self.cameras}, takt_s)

    def recipe_of(self, camera: str) -> str | None:
        """Return the recipe of a camera, if it has one."""
        return self.recipes.get(camera, self.recipe)
