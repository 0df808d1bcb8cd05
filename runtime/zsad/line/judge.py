"""Frames to view records: one detector, and what every record has to say about it."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from zsad.arithmetic import Arithmetic
from zsad.detector import Detector
from zsad.errors import InferenceError, InputError
from zsad.line.accounts import Ticket
from zsad.line.record import ViewRecord
from zsad.schema import sha256_of
from zsad.sources.base import Frame
from zsad.types import AnomalyResult, ImageU8, Verdict


@dataclass(frozen=True)
class Identity:
    """What judges, as every record names it; see `ViewRecord` for the attributes."""

    artifact: str
    graph: str
    backend: str
    score_kind: str
    arithmetic: Arithmetic | None = None
    recipe: str | None = None
    calibration: str | None = None
    engine: str | None = None


@dataclass(frozen=True)
class Taken:
    """A frame that the engine took, and what was to judge it at that moment."""

    ticket: Ticket
    frame: Frame
    identity: Identity


@dataclass(frozen=True)
class Judged:
    """A frame and what was found; `result` is None where the engine gave no answer."""

    taken: Taken
    view: ViewRecord
    result: AnomalyResult | None


class Judge:
    """Judges the frames of the cameras that share one recipe; it belongs to the engine's thread."""

    def __init__(self, detector: Detector) -> None:
        """Wrap a detector that is loaded."""
        self.detector = detector
        self.identity = identify(detector)
        calibration = detector.calibration
        self._good_scores = sorted(calibration.good_scores) if calibration else []

    def judge(self, taken: Sequence[Taken]) -> list[Judged]:
        """Judge frames in one run of the graph; one that cannot be judged says why.

        A frame that breaks the whole run is found by judging each alone.
        """
        pictures = [(t, t.frame.image_bgr) for t in taken if t.frame.image_bgr is not None]
        answers = dict(zip((t.ticket.number for t, _ in pictures), self._predict(pictures)))
        return [self._judged(t, answers.get(t.ticket.number)) for t in taken]

    def _predict(
        self, pictures: Sequence[tuple[Taken, ImageU8]]
    ) -> list[tuple[AnomalyResult | None, str | None, float]]:
        begin_s = time.monotonic()
        try:
            found = self.detector.predict_batch([picture for _, picture in pictures])
        except (InputError, InferenceError) as error:
            if len(pictures) == 1:
                return [(None, str(error), begin_s)]
            return [self._predict([one])[0] for one in pictures]
        return [(result, None, begin_s) for result in found]

    def _judged(
        self, taken: Taken, answer: tuple[AnomalyResult | None, str | None, float] | None
    ) -> Judged:
        if answer is None:
            return Judged(taken, silent_view(taken, taken.frame.error or "no image"), None)
        result, reason, begin_s = answer
        if result is None:
            return Judged(taken, silent_view(taken, reason or "no answer"), None)
        view = silent_view(taken, result.reason)
        stages_ms = {**view.stages_ms, **_stages_ms(taken, result, begin_s)}
        view = replace(view, stages_ms=stages_ms)
        if result.verdict is Verdict.NO_RESULT:
            return Judged(taken, view, result)
        view = replace(
            view,
            verdict=result.verdict.value,
            score=result.score,
            p_value=self._p_value(result.score),
            threshold=result.threshold,
            **self._types(result),
        )
        return Judged(taken, view, result)

    def _p_value(self, score: float) -> float | None:
        good = self._good_scores
        if not good:
            return None
        return (1 + len(good) - bisect_left(good, score)) / (len(good) + 1)

    def _types(self, result: AnomalyResult) -> dict[str, Any]:
        if result.type_score is None:
            return {}
        names = self.detector.artifact.manifest.words.types
        scores = map(float, result.type_score)
        found: dict[str, Any] = {"types": dict(zip(names, scores, strict=True))}
        if result.defect is not None and result.verdict is not Verdict.OK:
            found |= {"defect": result.defect.name, "defect_confidence": result.defect.confidence}
        return found

    def check(self) -> bool:
        """Whether the engine still answers a black frame with numbers."""
        spec = self.detector.artifact.manifest.preprocess
        result = self.detector.predict(np.zeros((spec.height, spec.width, 3), np.uint8))
        return bool(np.isfinite(result.anomaly_map).all())


def identify(detector: Detector) -> Identity:
    """Return what records say about a detector."""
    recipe, calibration = detector.recipe, detector.calibration
    return Identity(
        artifact=detector.artifact.sha256,
        graph=detector.graph.sha256,
        backend=detector.backend.name,
        score_kind=detector.score_kind,
        arithmetic=detector.arithmetic,
        recipe=None if recipe is None else sha256_of(recipe),
        calibration=None if calibration is None else sha256_of(calibration),
    )


def silent_view(taken: Taken, reason: str | None) -> ViewRecord:
    """Return the record of a frame as long as nothing can be said of it: NO_RESULT."""
    frame = taken.frame
    stages_ms = {"queued": _after_ms(frame, taken.ticket.taken_s)}
    if frame.decoded_s is not None:
        stages_ms["decoded"] = _after_ms(frame, frame.decoded_s)
    return ViewRecord(
        camera=taken.ticket.camera,
        frame=frame.name,
        frame_sha256=None,
        verdict="NO_RESULT",
        reason=reason,
        score=None,
        p_value=None,
        threshold=None,
        stages_ms=stages_ms,
        **asdict(taken.identity),
    )


def _stages_ms(taken: Taken, result: AnomalyResult, begin_s: float) -> dict[str, float]:
    spent = result.latency_ms
    preprocessed = _after_ms(taken.frame, begin_s) + spent["preprocess"]
    inferred = preprocessed + spent["infer"]
    return {
        "preprocessed": round(preprocessed, 3),
        "inferred": round(inferred, 3),
        "judged": round(inferred + spent["post"], 3),
    }


def _after_ms(frame: Frame, moment_s: float) -> float:
    return round((moment_s - frame.captured_s) * 1e3, 3)
