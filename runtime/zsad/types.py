"""The array types and the result that all parts share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

ImageU8 = npt.NDArray[np.uint8]
"""A frame, (H, W, 3) uint8, BGR as OpenCV gives it."""

ArrayF32 = npt.NDArray[np.float32]
ArrayBool = npt.NDArray[np.bool_]
Array = npt.NDArray[np.generic]


class Verdict(str, Enum):
    """What is said about one image."""

    OK = "OK"
    NG = "NG"
    NO_RESULT = "NO_RESULT"
    """Nothing can be said: a bad image, a fault, or a graph the recipe was not calibrated for."""
    UNCALIBRATED = "UNCALIBRATED"
    """A score without a threshold; `zsad-calibrate` makes one from good parts."""


@dataclass(frozen=True)
class DefectType:
    """Which defect it is, if it is one.

    Attributes:
        name: One of the artifact's defect types.
        confidence: Its share of the sum of all types' scores, in (0, 1]: 1 / K where nothing speaks
            for it rather than another. It compares the types, not defect with normal.
        index: Its place among the artifact's types.
        threshold: Its own threshold, where its score is above one.
    """

    name: str
    confidence: float
    index: int
    threshold: float | None = None


@dataclass(frozen=True)
class AnomalyResult:
    """The answer for one frame.

    Attributes:
        score: Anomaly score in [0, 1], higher = more anomalous; of the kind that the recipe
            calibrated, the graph's own without a recipe. NaN where the graph gave no number.
        anomaly_map: (H, W) float32 in [0, 1] of the whole frame: at the model's input size, and
            with tiles at the scale that one tile has there.
        verdict: OK, NG, NO_RESULT or UNCALIBRATED.
        is_anomalous: True for NG, False for OK, None where there is no decision.
        threshold: The threshold of the recipe, None when uncalibrated.
        map_level: Value of the map that sits at the middle of the heat map's colours; None where
            no recipe knows it.
        type_map: (K, H, W) float32, one map per defect type, where the method has types.
        type_score: (K,) float32, one score per defect type, where the method has types; with a
            region or tiles read from `type_map` as the score is from the map.
        defect: The type with the highest score, where the method has types and the verdict is
            neither OK nor NO_RESULT; among types above a threshold of their own, where there are
            any, the one that went furthest from it towards 1.
        roi: (H, W) bool, the pixels of the maps that were judged; None for all.
        latency_ms: Milliseconds per stage (`preprocess`, `infer`, `post`, `total`).
        reason: Why the verdict is NO_RESULT; None for any other.
    """

    score: float
    anomaly_map: ArrayF32
    verdict: Verdict = Verdict.UNCALIBRATED
    is_anomalous: bool | None = None
    threshold: float | None = None
    map_level: float | None = None
    type_map: ArrayF32 | None = None
    type_score: ArrayF32 | None = None
    defect: DefectType | None = None
    roi: ArrayBool | None = None
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
