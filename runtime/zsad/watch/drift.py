"""Drift told apart: light, lens, fixture, or what the model makes of them. It only ever alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zsad.recipe import Calibration
from zsad.types import ImageU8
from zsad.watch.appearance import MIN_PARTS, Appearance, DriftReference, appearance_of
from zsad.watch.config import DriftConfig
from zsad.watch.evidence import Evidence

DriftKind = Literal["exposure", "focus", "position", "score"]

MONITORS = 8
"""Quantities times directions that share the rate of false alarms and the confidence."""

_ACTIONS: dict[DriftKind, str] = {
    "exposure": "check light, exposure time and filters",
    "focus": "check lens and window",
    "position": "check fixture and camera mount",
    "score": "look at what was judged; calibrate again if the parts are good",
}


@dataclass(frozen=True)
class DriftAlarm:
    """One kind of drift that is on.

    Attributes:
        kind: What drifted.
        detail: The part that raised it beside the good ones, and what to check, in one line.
        part: How many parts had been observed when it was raised.
    """

    kind: DriftKind
    detail: str
    part: int

    def describe(self) -> str:
        """Return the alarm in one line."""
        return f"{self.kind} drifted: {self.detail}"


@dataclass(frozen=True)
class _Monitor:
    """One quantity in one direction, +1 up and -1 down."""

    kind: DriftKind
    quantity: str
    direction: int
    evidence: Evidence
    low: float
    high: float

    def see(self, value: float) -> bool:
        """Take a part into account, and return whether the alarm is on."""
        self.evidence.see(self.direction * value)
        return self.evidence.is_on

    def describe(self, value: float) -> str:
        return (
            f"{self.quantity} {value:.4g}, good parts had {self.low:.4g} to {self.high:.4g}:"
            f" {_ACTIONS[self.kind]}"
        )


class DriftMonitor:
    """Holds the parts of one camera against the good parts of its recipe, for one thread.

    It changes nothing: no threshold, no reference. An alarm goes off again by itself when parts
    look as before.

    Attributes:
        unwatched: What cannot be watched and why, one line each.
    """

    def __init__(
        self,
        config: DriftConfig,
        calibration: Calibration | None,
        reference: DriftReference | None,
    ) -> None:
        """Start with no evidence of anything.

        Args:
            config: How drift is told from chance.
            calibration: Its scores of good parts are what scores are held against; None watches no
                scores.
            reference: The look of the good parts, from the recipe; None watches no pictures.
        """
        self._config, self._reference, self._parts = config, reference, 0
        self._monitors: list[_Monitor] = []
        self._alarms: dict[DriftKind, DriftAlarm] = {}
        unwatched = []
        if reference is None:
            unwatched.append("exposure, focus and position: the recipe keeps no look of good parts")
        else:
            self._watch_pictures(reference)
        scores = () if calibration is None else calibration.single_scores
        if len(scores) < MIN_PARTS:
            unwatched.append(f"scores: {len(scores)} good parts where {MIN_PARTS} are wanted")
        else:
            self._watch("score", "score", scores, config.tolerances.score, (1, -1))
        self.unwatched = tuple(f"drift of {each}: run zsad-calibrate" for each in unwatched)

    @property
    def alarms(self) -> tuple[DriftAlarm, ...]:
        """What is on at the moment."""
        return tuple(self._alarms.values())

    def observe(self, frame_bgr: ImageU8, score: float | None) -> tuple[DriftAlarm, ...]:
        """Take one part into account.

        Args:
            frame_bgr: Its frame, (H, W, 3) uint8 BGR.
            score: Its score, of the calibration's kind; None where it has none.

        Returns:
            The alarms that are on now; one that stays on stays equal.

        Raises:
            InputError: The frame is no usable image.
        """
        self._parts += 1
        values: dict[str, float] = {}
        if self._reference is not None:
            values |= _quantities(appearance_of(frame_bgr), self._reference)
        if score is not None and math.isfinite(score):
            values["score"] = score
        on: dict[DriftKind, str] = {}
        for monitor in self._monitors:
            value = values.get(monitor.quantity)
            is_on = monitor.evidence.is_on if value is None else monitor.see(value)
            if is_on:
                on.setdefault(monitor.kind, "" if value is None else monitor.describe(value))
        self._alarms = {
            kind: self._alarms.get(kind) or DriftAlarm(kind, detail, self._parts)
            for kind, detail in on.items()
        }
        return self.alarms

    def _watch_pictures(self, reference: DriftReference) -> None:
        allowed = self._config.tolerances
        self._watch("exposure", "level", reference.levels, allowed.level, (1, -1))
        self._watch("exposure", "saturation", reference.saturations, allowed.saturation, (1,))
        tolerance = math.log1p(allowed.sharpness)
        self._watch("focus", "sharpness", reference.sharpness, tolerance, (-1, 1))
        self._watch("position", "offset", reference.offsets, allowed.position, (1,))

    def _watch(
        self,
        kind: DriftKind,
        quantity: str,
        good: Sequence[float],
        tolerance: float,
        directions: tuple[int, ...],
    ) -> None:
        for direction in directions:
            evidence = Evidence(
                [direction * value for value in good],
                tolerance,
                miss=(1 - self._config.confidence) / MONITORS,
                parts_per_false_alarm=self._config.parts_per_false_alarm * MONITORS,
                clear_after=self._config.clear_after,
            )
            low, high = min(good), max(good)
            self._monitors.append(_Monitor(kind, quantity, direction, evidence, low, high))


def _quantities(found: Appearance, reference: DriftReference) -> dict[str, float]:
    return {
        "level": found.level,
        "saturation": found.saturation,
        "sharpness": found.sharpness,
        "offset": reference.offset(found.picture),
    }
