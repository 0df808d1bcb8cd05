"""Who judges which camera: one engine, a recipe per camera, and the watchdog over both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.backends.threads import Threads
from zsad.detector import Detector
from zsad.errors import InputError
from zsad.inspection.tiles import images_at_once
from zsad.line.clock import SYSTEM, Clock
from zsad.line.config import LineConfig
from zsad.line.judge import Identity, Judge, Judged, Taken, silent_view
from zsad.line.monitor import Monitor
from zsad.line.recipes import Recipes
from zsad.manifest import Precision
from zsad.recipe_match import covered_by_most
from zsad.watch.parity import EngineChange, ParityWatch, Ruling

OnChange = Callable[[EngineChange], None]

_DOUBT_S = 1.0
"""A breach is a fault for as long at least, so that whoever reads the state sees it."""


class LineJudges:
    """The engine of a line with its judges; it belongs to the engine's thread.

    All cameras share one engine, since a device has the memory for one. It is one that serves as
    many of their recipes as one can, at the start and after a breach of parity; a camera whose
    recipe does not cover it gets NO_RESULT.
    """

    def __init__(
        self,
        config: LineConfig,
        recipes: Recipes,
        monitor: Monitor,
        on_change: OnChange,
        on_doubt: Callable[[str], None] = lambda reason: None,
        memory: Path | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        """Load the engine, warm it and replay the golden frames.

        Args:
            config: The line.
            recipes: What each camera is judged by.
            monitor: Told what judges and what is wrong with it.
            on_change: Told when another engine judges than before.
            on_doubt: Told why nothing counts any more that was judged up to now.
            memory: A file that remembers which engine was last within parity.
            clock: The clocks.

        Raises:
            InputError: Artifact or engine cannot be used.
        """
        self._config = config
        self._monitor = monitor
        self._on_change = on_change
        self._on_doubt = on_doubt
        self._clock = clock
        self._recipes = {camera.name: recipes.get(camera.name) for camera in config.cameras}
        self._calibrated = [each for each in self._recipes.values() if each is not None]
        detector = self._load(config.engine.precision, config.engine.backend)
        self._watch = ParityWatch(
            detector.artifact,
            recipes,
            config.watch.replay,
            self._load,
            memory,
            self._doubt,
        )
        self._doubted_s: float | None = None
        self._detector: Detector | None = detector
        self._judges: dict[str, Judge] = {}
        self._identities: dict[str, Identity] = {}
        try:
            self._seat(detector)
            self._apply(self._watch.at_start(detector, clock.monotonic_s()))
            self._trust()  # nothing was judged before
            self.check()
        except BaseException:
            detector.close()
            raise

    def identity(self, camera: str) -> Identity:
        """What records of this camera name as their judge; the last one's where nobody judges."""
        return self._identities[camera]

    def judge(self, taken: Sequence[Taken]) -> list[Judged]:
        """Judge frames of any cameras, and say of each that cannot be judged why."""
        if self._detector is None:
            reason = "; ".join(self._watch.alarms) or "no engine judges"
            return [Judged(one, silent_view(one, reason)) for one in taken]
        self._trust_again()
        judged: list[Judged] = []
        groups: dict[int, tuple[Judge, list[Taken]]] = {}
        for one in taken:
            judge = self._judges[one.ticket.camera]
            groups.setdefault(id(judge), (judge, []))[1].append(one)
        for judge, frames in groups.values():
            judged += judge.judge(frames)
            if judge.trouble is not None:
                judge.check()  # did it fail on this frame, or does it fail on all?
        self._tell_trouble()
        if self._watch.is_overdue(self._clock.monotonic_s()):
            before = self._detector
            self._replay_one()
            if self._detector is not before:
                reason = self._watch.alarms[-1]
                return [Judged(one.taken, silent_view(one.taken, reason)) for one in judged]
        return judged

    def is_well(self) -> bool:
        """Whether the engine answered when it was last asked; without one nothing can be wrong."""
        return all(judge.trouble is None for judge in self._judges.values())

    def check(self) -> None:
        """Replay a golden frame if it is time to; else see that the engine still answers."""
        if self._detector is None:
            return
        self._trust_again()
        if self._watch.wants_slot(self._clock.monotonic_s()):
            self._replay_one()
        else:
            next(iter(self._judges.values())).check()
            self._tell_trouble()

    def close(self) -> None:
        """Free the engine."""
        if self._detector is not None:
            self._detector.close()

    def _load(self, precision: Precision | None, backend: str) -> Detector:
        artifact = Artifact.open(self._config.artifact)
        covered = covered_by_most(self._calibrated, artifact, backend)
        asked = self._config.engine
        threads = Threads(asked.threads, asked.spin)
        engine = open_backend(artifact, precision, backend, threads, covered, self._at_once())
        recipe = next(iter(self._recipes.values()))
        try:
            return Detector(artifact, engine, recipe, threads=threads.count)
        except InputError:
            engine.close()
            raise

    def _at_once(self) -> int:
        tiles = [None if each is None else each.inspection.tiles for each in self._recipes.values()]
        return max(images_at_once(self._config.engine.max_batch, each) for each in tiles)

    def _replay_one(self) -> None:
        assert self._detector is not None
        ruling = self._watch.in_idle_slot(self._detector, self._clock.monotonic_s())
        if ruling is not None:
            self._apply(ruling)

    def _doubt(self, reason: str) -> None:
        """Make a breach known before a successor is looked for, which takes seconds."""
        self._on_doubt(reason)
        self._doubted_s = self._clock.monotonic_s()
        self._monitor.raise_condition("fault", "parity", reason)
        self._monitor.judged_by("none")

    def _trust_again(self) -> None:
        """End the fault of a breach once a successor judges and every consumer saw the fault."""
        if self._doubted_s is None or self._detector is None:
            return
        if self._clock.monotonic_s() - self._doubted_s >= _DOUBT_S:
            self._trust()

    def _trust(self) -> None:
        if self._detector is not None:
            self._doubted_s = None
            self._monitor.clear_condition("fault", "parity")

    def _apply(self, ruling: Ruling) -> None:
        before, self._detector = self._detector, ruling.detector
        if ruling.detector is None:
            reason = "; ".join(self._watch.alarms) or "no engine judges"
            self._monitor.raise_condition("fault", "parity", reason)
            self._judges = {}
        elif ruling.detector is not before:
            self._seat(ruling.detector)
        for alarm in self._watch.alarms:
            self._monitor.raise_condition("alarm", alarm, alarm)
        for change in ruling.changes:
            self._on_change(change)

    def _seat(self, detector: Detector) -> None:
        """Make a judge per recipe over the one engine, and warm it up."""
        detector.warm_up(self._config.engine.max_batch)
        artifact, engine, threads = detector.artifact, detector.backend, self._config.engine.threads
        by_recipe = {
            key: Judge(Detector(artifact, engine, recipe, threads=threads))
            for key, recipe in {id(each): each for each in self._recipes.values()}.items()
        }
        self._judges = {name: by_recipe[id(recipe)] for name, recipe in self._recipes.items()}
        self._identities = {name: judge.identity for name, judge in self._judges.items()}
        self._monitor.judged_by(f"{detector.graph.file} on {engine.provider} ({engine.name})")
        for name, judge in self._judges.items():
            refusal = judge.detector.refusal
            if refusal is not None:
                self._monitor.raise_condition("degraded", f"recipe {name}", f"{name}: {refusal}")
            else:
                self._monitor.clear_condition("degraded", f"recipe {name}")

    def _tell_trouble(self) -> None:
        found = [judge.trouble for judge in self._judges.values() if judge.trouble is not None]
        if found:
            self._monitor.raise_condition("fault", "engine", f"the engine fails: {found[0]}")
        else:
            self._monitor.clear_condition("fault", "engine")
