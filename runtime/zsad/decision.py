"""From scores to a verdict: what the thresholds of a recipe say about them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from zsad.recipe import Calibration
from zsad.types import AnomalyResult, ArrayF32, DefectType, Verdict

_MEANING = {Verdict.OK: False, Verdict.NG: True}


@dataclass(frozen=True)
class Decision:
    """Holds scores against thresholds.

    Attributes:
        types: The artifact's defect types, in the order of a result's type scores.
        calibration: The thresholds; None where there are none.
        refusal: Why a recipe gives none here; None if it does, or if there is no recipe.
    """

    types: tuple[str, ...]
    calibration: Calibration | None
    refusal: str | None

    def apply(self, result: AnomalyResult, lowered: float = 0.0) -> AnomalyResult:
        """Return a result with the verdict that its scores have.

        Args:
            result: Scores and maps of the kind that was calibrated.
            lowered: Share by which every threshold is taken lower, for hysteresis.
        """
        calibration = self.calibration
        verdict, reason = self._verdict(result, lowered)
        return replace(
            result,
            verdict=verdict,
            is_anomalous=_MEANING.get(verdict),
            threshold=None if calibration is None else calibration.threshold * (1 - lowered),
            map_level=None if calibration is None else calibration.map_level,
            defect=self._defect(verdict, result.type_score, lowered),
            reason=reason,
        )

    def _verdict(self, result: AnomalyResult, lowered: float) -> tuple[Verdict, str | None]:
        told = [result.anomaly_map, *([] if result.type_score is None else [result.type_score])]
        if not (np.isfinite(result.score) and all(np.isfinite(each).all() for each in told)):
            return Verdict.NO_RESULT, "the graph answered with a value that is not a number"
        if self.calibration is None:
            missing = Verdict.UNCALIBRATED if self.refusal is None else Verdict.NO_RESULT
            return missing, self.refusal
        types = () if result.type_score is None else [float(each) for each in result.type_score]
        return self.calibration.verdict(result.score, types, lowered), None

    def _defect(
        self, verdict: Verdict, type_score: ArrayF32 | None, lowered: float
    ) -> DefectType | None:
        if type_score is None or verdict in (Verdict.OK, Verdict.NO_RESULT):
            return None
        index, threshold = self._furthest_above(type_score, lowered)
        total = float(type_score.sum())
        share = float(type_score[index]) / total if total > 0 else 1 / len(type_score)
        return DefectType(self.types[index], share, index, threshold)

    def _furthest_above(self, type_score: ArrayF32, lowered: float) -> tuple[int, float | None]:
        """Return the type that went furthest above its own threshold, and that threshold.

        Where none is above one, it is the type with the highest score, without a threshold.
        """
        own = () if self.calibration is None else self.calibration.types
        if own:
            limits = np.array([each.threshold * (1 - lowered) for each in own])
            excess = (type_score - limits) / (1 - limits)
            if excess.max() > 0:
                index = int(excess.argmax())
                return index, float(limits[index])
        return int(type_score.argmax()), None
