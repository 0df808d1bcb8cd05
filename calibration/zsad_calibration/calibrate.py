"""From good parts to a recipe: score them with every graph, then take a threshold of each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from zsad.detector import Detector
from zsad.errors import InputError
from zsad.images import Scale16
from zsad.recipe import SCHEMA, Calibration, Recipe, ScoreKind, score_of
from zsad_calibration.good_frames import GoodFrame
from zsad_calibration.threshold import CONFIDENCE, threshold_from

MAP_LEVEL_SHARE = 0.95
"""Share of the good parts whose map stays below the middle of the heat map's colours."""


@dataclass(frozen=True)
class Settings:
    """What is promised, and about which score.

    Attributes:
        score_kind: Kind of score that is compared, see `zsad.recipe.score_of`.
        max_false_reject: Share of good parts that may be rejected; None for what they support.
        confidence: Probability that the promise holds.
        scale_16bit: How deeper frames became 8 bits, for the recipe to say.
    """

    score_kind: ScoreKind = "graph"
    max_false_reject: float | None = None
    confidence: float = CONFIDENCE
    scale_16bit: Scale16 | None = None


def calibrate(
    detectors: Sequence[Detector], frames: Iterable[GoodFrame], settings: Settings
) -> Recipe:
    """Return a recipe with one calibration per detector.

    Args:
        detectors: One per graph of the same artifact, opened without a recipe.
        frames: Independent good parts, each once.
        settings: The promise.

    Raises:
        InputError: There are too few parts for the promise, or a score is not a number.
    """
    found: list[list[_Good]] = [[] for _ in detectors]
    for frame in frames:
        for detector, row in zip(detectors, found, strict=True):
            row.append(_judged(detector, frame, settings.score_kind))
    pairs = zip(detectors, found, strict=True)
    return Recipe(
        schema=SCHEMA,
        preprocess_sha256=detectors[0].artifact.manifest.preprocess.sha256,
        calibrations=tuple(_calibration(detector, row, settings) for detector, row in pairs),
        scale_16bit=settings.scale_16bit,
        words_sha256=detectors[0].artifact.manifest.words_sha256,
    )


@dataclass(frozen=True)
class _Good:
    score: float
    map_max: float


def _judged(detector: Detector, frame: GoodFrame, kind: ScoreKind) -> _Good:
    result = detector.predict(frame.frame_bgr)
    score = score_of(kind, result.score, result.anomaly_map)
    map_max = score_of("map_max", result.score, result.anomaly_map)
    if not (math.isfinite(score) and math.isfinite(map_max)):
        what = f"the score {score}" if not math.isfinite(score) else "a map that is no number"
        raise InputError(
            f"good frame '{frame.name}' got {what} from {detector.graph.file}: "
            "export the artifact again"
        )
    return _Good(score, map_max)


def _calibration(detector: Detector, goods: Sequence[_Good], settings: Settings) -> Calibration:
    scores = [good.score for good in goods]
    threshold = threshold_from(scores, settings.max_false_reject, settings.confidence)
    return Calibration(
        graph_sha256=detector.graph.sha256,
        score_kind=settings.score_kind,
        threshold=threshold.value,
        bound=threshold.bound,
        good_scores=tuple(sorted(scores)),
        good_map_level=float(np.quantile([good.map_max for good in goods], MAP_LEVEL_SHARE)),
        arithmetic=detector.arithmetic,
    )
