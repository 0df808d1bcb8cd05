"""From good parts to a recipe: score them with every graph, then take thresholds of each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zsad.detector import Detector
from zsad.errors import InputError
from zsad.images import Scale16
from zsad.inspection.config import Inspection
from zsad.recipe import SCHEMA, Calibration, Recipe, TypeThreshold
from zsad.scores import ScoreKind, score_of, type_scores_of
from zsad.types import AnomalyResult
from zsad.watch.appearance import DriftCollector
from zsad_calibration.curve import false_rejects
from zsad_calibration.good_frames import GoodFrame
from zsad_calibration.threshold import CONFIDENCE, thresholds_from

MAP_LEVEL_SHARE = 0.95
"""Share of the good parts whose map stays below the middle of the heat map's colours."""


@dataclass(frozen=True)
class Settings:
    """What is promised, and about which score.

    Attributes:
        score_kind: Kind of score that is compared, see `zsad.scores.score_of`.
        max_false_reject: Share of good parts that may be rejected; None for what they support.
        confidence: Probability that the promise holds.
        scale_16bit: How deeper frames became 8 bits, for the recipe to say.
        by_type: Whether each defect type gets a threshold of its own, beside that of the score.
    """

    score_kind: ScoreKind = "graph"
    max_false_reject: float | None = None
    confidence: float = CONFIDENCE
    scale_16bit: Scale16 | None = None
    by_type: bool = False


def calibrate(
    detectors: Sequence[Detector], frames: Iterable[GoodFrame], settings: Settings
) -> Recipe:
    """Return a recipe with one calibration per detector.

    A part that several frames show counts once: with the highest score of any for the thresholds,
    and with the first one's for drift, since a line sees one frame of a part.

    Args:
        detectors: One per graph of the same artifact, opened without a recipe, and with the
            region and tiles that the recipe is to have.
        frames: Good parts, independent of each other but for those with one number.
        settings: The promise.

    Raises:
        InputError: There are too few parts for the promise, a score is not a number, frames under
            a region or tiles differ in size, or there are no types to have thresholds.
    """
    artifact, inspection = detectors[0].artifact, detectors[0].inspection
    types = artifact.manifest.words.types if settings.by_type else ()
    if settings.by_type and not types:
        raise InputError(f"--by-type: {artifact.path} names no defect types: only dapo does")
    found: list[dict[int, _Good]] = [{} for _ in detectors]
    look = DriftCollector()
    for frame in frames:
        inspection = _same_size(inspection, frame)
        if frame.part not in found[0]:
            look.add(frame.frame_bgr)
        for detector, parts in zip(detectors, found, strict=True):
            _keep_highest(parts, frame.part, _judged(detector, frame, settings))
    pairs = zip(detectors, found, strict=True)
    return Recipe(
        schema=SCHEMA,
        preprocess_sha256=artifact.manifest.preprocess.sha256,
        calibrations=tuple(
            _calibration(detector, list(parts.values()), types, inspection, settings)
            for detector, parts in pairs
        ),
        scale_16bit=settings.scale_16bit,
        words_sha256=artifact.manifest.words_sha256,
        roi=inspection.roi,
        tiles=inspection.tiles,
        frame_hw=inspection.frame_hw,
        drift=look.reference(),
    )


@dataclass(frozen=True)
class _Good:
    """Scores of a good part: its own and, by type, those of each; and its map's maximum.

    `first` is its own score on the first frame that showed it; the others are the highest of any.
    """

    scores: tuple[float, ...]
    map_max: float
    first: float


def _same_size(inspection: Inspection, frame: GoodFrame) -> Inspection:
    height, width = frame.frame_bgr.shape[:2]
    if not inspection.needs_map:
        return inspection
    if inspection.frame_hw in (None, (height, width)):
        return replace(inspection, frame_hw=(height, width))
    rows, columns = inspection.frame_hw or (0, 0)
    raise InputError(
        f"good frame '{frame.name}' is {width}x{height}, those before {columns}x{rows}: a region or"
        " tiles need frames of one camera"
    )


def _keep_highest(parts: dict[int, _Good], part: int, good: _Good) -> None:
    before = parts.get(part, good)
    scores = tuple(map(max, before.scores, good.scores))
    parts[part] = _Good(scores, max(before.map_max, good.map_max), before.first)


def _judged(detector: Detector, frame: GoodFrame, settings: Settings) -> _Good:
    result, kind = detector.predict(frame.frame_bgr), settings.score_kind
    scores = [score_of(kind, result.score, result.anomaly_map, result.roi)]
    if settings.by_type:
        scores += _type_scores(detector, result, kind)
    map_max = score_of("map_max", result.score, result.anomaly_map, result.roi)
    if not all(map(math.isfinite, (*scores, map_max))):
        bad = next((score for score in scores if not math.isfinite(score)), None)
        what = "a map that is no number" if bad is None else f"the score {bad}"
        raise InputError(
            f"good frame '{frame.name}' got {what} from {detector.graph.file}: "
            "export the artifact again"
        )
    return _Good(tuple(scores), map_max, scores[0])


def _type_scores(detector: Detector, result: AnomalyResult, kind: ScoreKind) -> list[float]:
    if result.type_score is None or result.type_map is None:
        raise InputError(f"--by-type: {detector.graph.file} has no scores of types")
    if not detector.inspection.needs_map:
        return [float(score) for score in result.type_score]
    return [float(score) for score in type_scores_of(kind, result.type_map, result.roi)]


def _calibration(
    detector: Detector,
    goods: Sequence[_Good],
    types: Sequence[str],
    inspection: Inspection,
    settings: Settings,
) -> Calibration:
    every = [good.scores for good in goods]
    values, bound = thresholds_from(every, settings.max_false_reject, settings.confidence)
    scores = tuple(sorted(part[0] for part in every))
    first = tuple(sorted(good.first for good in goods))
    return Calibration(
        graph_sha256=detector.graph.sha256,
        score_kind=settings.score_kind,
        threshold=values[0],
        bound=bound,
        good_scores=scores,
        good_map_level=float(np.quantile([good.map_max for good in goods], MAP_LEVEL_SHARE)),
        arithmetic=detector.arithmetic,
        types=tuple(map(TypeThreshold, types, values[1:])),
        inspection_sha256=inspection.sha256,
        curve=false_rejects(scores, settings.confidence),
        first_scores=() if first == scores else first,
    )
