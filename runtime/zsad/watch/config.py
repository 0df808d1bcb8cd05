"""How closely engine and pictures are watched."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from zsad.errors import InputError


@dataclass(frozen=True)
class ReplayConfig:
    """When golden frames are replayed; at the start they always are.

    Attributes:
        every_s: Seconds between the beginnings of two rounds in idle slots; 0 replays at the start
            alone.
        fall_back: Whether another engine that the recipe covers takes over after a breach; without
            it every verdict is NO_RESULT until a person has mended the engine.
    """

    every_s: float = 600.0
    fall_back: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.every_s) and self.every_s >= 0):
            raise InputError(f"watch: replay: every_s {self.every_s} is not 0 or more seconds")


@dataclass(frozen=True)
class Tolerances:
    """Changes that are none: what is smaller than this counts as no change at all.

    Attributes:
        level: Of a frame's mean grey level, of 255.
        saturation: Of the share of pixels that are black or white.
        sharpness: Of the share of fine detail, as a factor less one: 0.2 is a fifth more or less.
        position: Of the part's place, as a share of the frame's width and height.
        score: Of the anomaly score.
    """

    level: float = 4.0
    saturation: float = 0.02
    sharpness: float = 0.2
    position: float = 0.01
    score: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"watch: drift: {each.name} {value} is not 0 or more")


@dataclass(frozen=True)
class DriftConfig:
    """How drift is told from chance.

    Attributes:
        parts_per_false_alarm: While nothing drifts, alarms of all kinds together come no more often
            than once in so many parts, on average.
        confidence: Probability, over the draw of the good parts, that this holds.
        clear_after: Unremarkable parts, more or less in a row, after which an alarm is off again.
        part_s: Seconds in which a part passes a free-running camera: one frame in so many counts.
            None tells parts apart by their look, as `zsad-calibrate` does.
        tolerances: Changes that are too small to count.
    """

    parts_per_false_alarm: int = 100_000
    confidence: float = 0.95
    clear_after: int = 50
    part_s: float | None = None
    tolerances: Tolerances = field(default_factory=Tolerances)

    def __post_init__(self) -> None:
        if self.parts_per_false_alarm < 1:
            raise InputError(
                f"watch: drift: parts_per_false_alarm {self.parts_per_false_alarm} is not 1 or more"
            )
        if not 0 < self.confidence < 1:
            raise InputError(f"watch: drift: confidence {self.confidence} is not between 0 and 1")
        if self.clear_after < 1:
            raise InputError(f"watch: drift: clear_after {self.clear_after} is not 1 or more")
        if self.part_s is not None and not (math.isfinite(self.part_s) and self.part_s > 0):
            raise InputError(f"watch: drift: part_s {self.part_s} is not above 0 seconds")


@dataclass(frozen=True)
class WatchConfig:
    """What is watched; None switches drift off."""

    replay: ReplayConfig = field(default_factory=ReplayConfig)
    drift: DriftConfig | None = field(default_factory=DriftConfig)
