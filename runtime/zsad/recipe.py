"""The recipe: what belongs to one part on one line, kept outside the immutable artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from zsad.arithmetic import Arithmetic
from zsad.errors import InputError
from zsad.images import Scale16
from zsad.inspection.config import DebounceConfig, Inspection, Roi, Tiles
from zsad.schema import from_json, read_json, write_json
from zsad.scores import ScoreKind
from zsad.types import Verdict
from zsad.watch.appearance import DriftReference

SCHEMA = 2
"""2 brought region, tiles, debounce and thresholds by type; 1 is read as a recipe without them."""


@dataclass(frozen=True)
class Bound:
    """What the number of good parts supports, and not more.

    Attributes:
        max_false_reject: Upper bound of the share of good parts that will be rejected, in [0, 1].
        confidence: Probability, over the draw of the good parts, that the bound holds.
        n_unique: Good frames it rests on, near-duplicates counted once.
    """

    max_false_reject: float
    confidence: float
    n_unique: int


@dataclass(frozen=True)
class TypeThreshold:
    """The threshold of one defect type's score, for an artifact that names types."""

    name: str
    threshold: float


@dataclass(frozen=True)
class CurvePoint:
    """What a threshold would cost.

    Attributes:
        threshold: A threshold of the score.
        expected_share: Share of good parts that is expected above it.
        max_share: Upper bound of that share, with the confidence of the calibration's bound; each
            point's holds by itself.
    """

    threshold: float
    expected_share: float
    max_share: float


@dataclass(frozen=True)
class Calibration:
    """Thresholds for one graph and one kind of score: anomalous where score > threshold.

    With `types`, one for each defect type of the artifact in its order, a part is anomalous where
    its score or that of any type is above its own threshold; the bound is about all of them
    together. `good_map_level` is what the maximum of the anomaly map stays below on 95 % of the
    good parts; None in recipes from before it was kept. `arithmetic` is what the engine computed
    in, None where that is what the graph says. `inspection_sha256` is the region and tiles it was
    made with, None for whole frames. `curve` says what other thresholds would cost. `good_scores`
    holds the highest of each part's frames; `first_scores` that of its first, empty where no part
    had several.
    """

    graph_sha256: str
    score_kind: ScoreKind
    threshold: float
    bound: Bound
    good_scores: tuple[float, ...]
    rule: Literal["score > threshold"] = "score > threshold"
    good_map_level: float | None = None
    arithmetic: Arithmetic | None = None
    types: tuple[TypeThreshold, ...] = ()
    inspection_sha256: str | None = None
    curve: tuple[CurvePoint, ...] = ()
    first_scores: tuple[float, ...] = ()

    @property
    def single_scores(self) -> tuple[float, ...]:
        """One frame's score of each good part, as a line judges parts."""
        return self.first_scores or self.good_scores

    @property
    def map_level(self) -> float | None:
        """Where an anomaly map turns from unremarkable to remarkable, in [0, 1], if it is known."""
        return self.good_map_level if self.score_kind == "graph" else self.threshold

    def __post_init__(self) -> None:
        for threshold in (self.threshold, *(each.threshold for each in self.types)):
            if not np.isfinite(threshold):
                raise InputError(f"recipe: threshold {threshold} is not a number")
        if self.inspection_sha256 is not None and self.score_kind == "graph":
            raise InputError(
                "recipe: the graph's own score knows no region and no tiles: run zsad-calibrate"
                " with --score-kind map_max"
            )

    def verdict(
        self, score: float, type_scores: Sequence[float] = (), lowered: float = 0.0
    ) -> Verdict:
        """Return NG above a threshold, OK otherwise; NO_RESULT for a score that is no number.

        Args:
            score: The part's score, of `score_kind`.
            type_scores: That of each type, read where there are thresholds of types.
            lowered: Share by which each threshold is taken lower, for hysteresis.
        """
        pairs = [(score, self.threshold)]
        if self.types:
            limits = (each.threshold for each in self.types)
            pairs += zip(type_scores, limits, strict=True)
        if not all(np.isfinite(value) for value, _ in pairs):
            return Verdict.NO_RESULT
        above = any(value > limit * (1 - lowered) for value, limit in pairs)
        return Verdict.NG if above else Verdict.OK

    def p_value(self, score: float) -> float:
        """Return the share of good parts, this one counted among them, that score as high."""
        as_high = sum(good >= score for good in self.good_scores)
        return (1 + as_high) / (1 + len(self.good_scores))


@dataclass(frozen=True)
class Recipe:
    """Calibrations of one part; a verdict needs the exact graph, preprocessing and words of one.

    `scale_16bit` is how deeper frames became 8 bits when it was made; None for 8-bit frames.
    `words_sha256` is the hash of the text table it was made with; None where the text is baked.
    `roi`, `tiles` and `frame_hw` are those of `Inspection`; `debounce` is for free-running cameras.
    `drift` is how the good parts looked; None where they were too few or it was not kept yet.
    """

    schema: int
    preprocess_sha256: str
    calibrations: tuple[Calibration, ...]
    scale_16bit: Scale16 | None = None
    words_sha256: str | None = None
    roi: Roi | None = None
    tiles: Tiles | None = None
    frame_hw: tuple[int, int] | None = None
    debounce: DebounceConfig | None = None
    drift: DriftReference | None = None

    def __post_init__(self) -> None:
        keys = [(c.graph_sha256, c.arithmetic) for c in self.calibrations]
        if not keys:
            raise InputError("recipe: it holds no calibration: run zsad-calibrate")
        if len(set(keys)) != len(keys):
            raise InputError("recipe: two calibrations for one graph: run zsad-calibrate again")
        if self.inspection.needs_map and self.frame_hw is None:
            raise InputError(
                "recipe: a region or tiles need the key 'frame_hw': run zsad-calibrate"
            )

    @property
    def inspection(self) -> Inspection:
        """Region and tiles."""
        return Inspection(self.roi, self.tiles, self.frame_hw)

    def calibration_for(
        self,
        graph_sha256: str,
        preprocess_sha256: str,
        words_sha256: str | None = None,
        arithmetic: Arithmetic | None = None,
    ) -> Calibration | None:
        """Return the calibration of exactly this graph, preprocessing, words and arithmetic.

        One that was made with another region or other tiles than the recipe has now is none.
        """
        if (preprocess_sha256, words_sha256) != (self.preprocess_sha256, self.words_sha256):
            return None
        key = (graph_sha256, arithmetic, self.inspection.sha256)
        matches = (
            c
            for c in self.calibrations
            if (c.graph_sha256, c.arithmetic, c.inspection_sha256) == key
        )
        return next(matches, None)


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        InputError: The file is missing, not JSON, of a newer schema, or breaks the contract.
    """
    data = read_json(Path(path), "recipe")
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, int) or schema < 1:
        raise InputError(f"{path} is not a recipe: it has no schema number")
    if schema > SCHEMA:
        raise InputError(f"{path} has schema {schema}, this zsad reads up to {SCHEMA}: upgrade")
    return from_json(Recipe, data, str(path))


def agreed_scale(path: str | Path, asked: Scale16 | None) -> Scale16 | None:
    """Return how 16-bit images are to be scaled under a recipe: as when it was calibrated.

    Args:
        path: The recipe.
        asked: The scale that the user named, if any.

    Raises:
        InputError: The recipe cannot be read, or was calibrated with another scale than asked for.
    """
    made_with = read_recipe(path).scale_16bit
    if asked is None or asked == made_with:
        return made_with
    found = "8-bit images" if made_with is None else f"--scale-16bit {made_with}"
    raise InputError(
        f"recipe {path} was calibrated with {found}, not --scale-16bit {asked}: leave the option "
        "out, or calibrate again with it"
    )


def write_recipe(path: str | Path, recipe: Recipe) -> None:
    """Write a recipe, whole or not at all."""
    write_json(Path(path), recipe)
