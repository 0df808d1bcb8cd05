"""The recipe: what belongs to one part on one line, kept outside the immutable artifact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from zsad.arithmetic import Arithmetic
from zsad.errors import InputError
from zsad.images import Scale16
from zsad.schema import from_json, read_json, write_json
from zsad.types import ArrayF32, Verdict

SCHEMA = 1

ScoreKind = Literal["graph", "map_max", "map_top1pct"]
SCORE_KINDS: tuple[ScoreKind, ...] = ("graph", "map_max", "map_top1pct")


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
class Calibration:
    """A threshold for one graph and one kind of score: anomalous where score > threshold.

    `good_map_level` is what the maximum of the anomaly map stays below on 95 % of the good parts;
    None in recipes from before it was kept. `arithmetic` is what the engine computed in, None where
    that is what the graph says.
    """

    graph_sha256: str
    score_kind: ScoreKind
    threshold: float
    bound: Bound
    good_scores: tuple[float, ...]
    rule: Literal["score > threshold"] = "score > threshold"
    good_map_level: float | None = None
    arithmetic: Arithmetic | None = None

    @property
    def map_level(self) -> float | None:
        """Where an anomaly map turns from unremarkable to remarkable, in [0, 1], if it is known."""
        return self.good_map_level if self.score_kind == "graph" else self.threshold

    def __post_init__(self) -> None:
        if not np.isfinite(self.threshold):
            raise InputError(f"recipe: threshold {self.threshold} is not a number")

    def verdict(self, score: float) -> Verdict:
        """Return NG above the threshold, OK otherwise; NO_RESULT for a score that is no number."""
        if not np.isfinite(score):
            return Verdict.NO_RESULT
        return Verdict.NG if score > self.threshold else Verdict.OK


@dataclass(frozen=True)
class Recipe:
    """Calibrations of one part; a verdict needs the exact graph, preprocessing and words of one.

    `scale_16bit` is how deeper frames became 8 bits when it was made; None for 8-bit frames.
    `words_sha256` is the hash of the text table it was made with; None where the text is baked.
    """

    schema: int
    preprocess_sha256: str
    calibrations: tuple[Calibration, ...]
    scale_16bit: Scale16 | None = None
    words_sha256: str | None = None

    def __post_init__(self) -> None:
        keys = [(c.graph_sha256, c.arithmetic) for c in self.calibrations]
        if not keys:
            raise InputError("recipe: it holds no calibration: run zsad-calibrate")
        if len(set(keys)) != len(keys):
            raise InputError("recipe: two calibrations for one graph: run zsad-calibrate again")

    def calibration_for(
        self,
        graph_sha256: str,
        preprocess_sha256: str,
        words_sha256: str | None = None,
        arithmetic: Arithmetic | None = None,
    ) -> Calibration | None:
        """Return the calibration of exactly this graph, preprocessing, words and arithmetic."""
        if (preprocess_sha256, words_sha256) != (self.preprocess_sha256, self.words_sha256):
            return None
        key = (graph_sha256, arithmetic)
        matches = (c for c in self.calibrations if (c.graph_sha256, c.arithmetic) == key)
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


def score_of(kind: ScoreKind, graph_score: float, anomaly_map: ArrayF32) -> float:
    """Return the image score of a kind.

    Args:
        kind: `graph` is the method's own score; `map_max` the map's maximum; `map_top1pct` the mean
            of its highest one percent of pixels, which one hot pixel cannot decide.
        graph_score: The graph's score, in [0, 1].
        anomaly_map: (H, W) float32 in [0, 1].
    """
    if kind == "graph":
        return graph_score
    if kind == "map_max":
        return float(anomaly_map.max())
    values = anomaly_map.ravel()
    count = max(1, values.size // 100)
    return float(np.partition(values, values.size - count)[-count:].mean(dtype=np.float64))
