"""The parity watchdog: may this engine judge, and if not, what judges instead?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zsad.artifact import Artifact
from zsad.detector import Detector
from zsad.errors import InputError
from zsad.recipe import Recipe
from zsad.watch.config import ReplayConfig
from zsad.watch.fallback import Open, open_fallback
from zsad.watch.golden import GoldenReplay, ReplayResult
from zsad.watch.identity import identity_of, recall_identity, remember_identity

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineChange:
    """What belongs into the audit log when another engine judges, or none.

    Attributes:
        before: What judged, in one line; `none` on the first start.
        after: What judges from now on; `none` where every verdict is NO_RESULT.
        reason: Why.
    """

    before: str
    after: str
    reason: str


@dataclass(frozen=True)
class Ruling:
    """What the watchdog decided.

    Attributes:
        detector: What judges from now on. If it is not the one that was watched, that one is closed
            already. None where nothing computes what was trained: every verdict is NO_RESULT.
        result: The replay of the engine that was watched; None where the artifact keeps no golden
            frames.
        changes: For the audit log.
    """

    detector: Detector | None
    result: ReplayResult | None
    changes: tuple[EngineChange, ...] = field(default_factory=tuple)


class ParityWatch:
    """Watches the engine of one line; it belongs to the thread that owns the engine."""

    def __init__(
        self,
        artifact: Artifact,
        recipes: Mapping[str, Recipe],
        config: ReplayConfig,
        open_one: Open,
        memory: Path | None = None,
        on_breach: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Read the golden frames.

        Args:
            artifact: What the line judges with.
            recipes: What each of its cameras is judged by, where it has one, by the camera's name.
            config: When to replay.
            open_one: Opens the artifact with another graph or on another backend.
            memory: A file that remembers which engine was last within parity; None forgets.
            on_breach: Told why an engine is ruled out, before anything else is tried: what it said
                lately must not be believed for the seconds that this takes.
        """
        self._artifact, self._recipes, self._config = artifact, [*recipes.values()], config
        self._open, self._memory, self._on_breach = open_one, memory, on_breach
        self._due_s = float("inf")
        self._breaches: tuple[str, ...] = ()
        self._replay: GoldenReplay | None = None
        self._unwatched: str | None = None
        try:
            self._replay = GoldenReplay(artifact, recipes=_by_cameras(recipes))
        except InputError as error:
            self._unwatched = f"parity cannot be watched: {error}"

    @property
    def alarms(self) -> tuple[str, ...]:
        """What a person must know, one line each; a breach stays until the line starts anew."""
        unwatched = () if self._unwatched is None else (self._unwatched,)
        return (*self._breaches, *unwatched)

    def at_start(self, detector: Detector, now_s: float) -> Ruling:
        """Replay every golden frame, before anything is judged.

        It names what changed since an engine was last within parity: graph, engine, driver or
        versions.
        """
        if self._replay is None:
            return Ruling(detector, None)
        result = self._replay.check(detector)
        self._due_s = now_s + (self._config.every_s or float("inf"))
        if not result.ok:
            return self._rule_out(detector, result)
        return Ruling(detector, result, self._recognise(detector, result))

    def in_idle_slot(self, detector: Detector, now_s: float) -> Ruling | None:
        """Replay one golden frame if it is time to, which costs one inference at the most.

        Returns:
            A ruling at the end of a round, or as soon as a frame is over its limits; None else.
        """
        if not self.wants_slot(now_s):
            return None
        assert self._replay is not None
        if not self._replay.is_under_way:
            self._due_s = now_s + self._config.every_s
        result = self._replay.step(detector)
        if result is None:
            return None
        return Ruling(detector, result) if result.ok else self._rule_out(detector, result)

    def wants_slot(self, now_s: float) -> bool:
        """Whether an idle slot would be used."""
        if self._replay is None:
            return False
        return self._replay.is_under_way or now_s >= self._due_s

    def is_overdue(self, now_s: float) -> bool:
        """Whether a line without idle slots should make one, a whole period after it was time."""
        return self.wants_slot(now_s) and now_s >= self._due_s + self._config.every_s

    def _rule_out(self, detector: Detector, result: ReplayResult) -> Ruling:
        assert self._replay is not None
        before = identity_of(detector)
        current = (detector.backend.precision, detector.backend.name)
        what = f"{_where(detector)} is out of parity: {result.describe()}"
        self._on_breach(what)
        detector.close()  # its memory may be what the next one needs
        successor = None
        if self._config.fall_back:
            taken = open_fallback(self._artifact, self._recipes, current, self._open, self._replay)
            successor = taken.detector
            what = "; ".join((what, *(f"not taken: {each}" for each in taken.refused)))
        after = "none" if successor is None else identity_of(successor).describe()
        judges = "no engine judges" if successor is None else f"{_where(successor)} judges"
        self._breaches += (f"{judges}: {what}",)
        LOG.error("%s", self._breaches[-1])
        return Ruling(successor, result, (EngineChange(before.describe(), after, what),))

    def _recognise(self, detector: Detector, result: ReplayResult) -> tuple[EngineChange, ...]:
        if self._memory is None:
            return ()
        identity, before = identity_of(detector), recall_identity(self._memory)
        if identity == before:
            return ()
        try:
            remember_identity(self._memory, identity)
        except InputError as error:
            LOG.warning("the engine cannot be remembered: %s", error)
        changed = "first start" if before is None else "; ".join(identity.changes_from(before))
        reason = f"{changed}; {result.describe()}"
        return (
            EngineChange(
                "none" if before is None else before.describe(), identity.describe(), reason
            ),
        )


def _by_cameras(recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """Return each recipe once, by the names of all cameras that share it."""
    names: dict[int, list[str]] = {}
    for camera, recipe in recipes.items():
        names.setdefault(id(recipe), []).append(camera)
    return {" and ".join(cameras): recipes[cameras[0]] for cameras in names.values()}


def _where(detector: Detector) -> str:
    return f"{detector.backend.precision} on {detector.backend.name}"
