"""Frames to view records: one detector, and what every record has to say about it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from zsad.arithmetic import Arithmetic
from zsad.credentials import masked_line
from zsad.detector import Detector
from zsad.errors import InferenceError, InputError
from zsad.inspection.debounce import Debounce, Settled
from zsad.line.accounts import Ticket
from zsad.line.record import ViewRecord
from zsad.schema import sha256_of
from zsad.scores import ScoreKind
from zsad.sources.base import Frame
from zsad.types import AnomalyResult, ImageU8, Verdict


@dataclass(frozen=True)
class Identity:
    """What judges, as every record names it; see `ViewRecord` for the attributes."""

    artifact: str
    graph: str
    backend: str
    score_kind: ScoreKind
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
    """A frame and what was found.

    Attributes:
        taken: The frame.
        view: Its record.
        result: The engine's answer; None where it gave none.
        settled: The debounced verdict about a part that is this frame alone; None without debounce.
    """

    taken: Taken
    view: ViewRecord
    result: AnomalyResult | None = None
    settled: Settled | None = None


@dataclass(frozen=True)
class _Answer:
    """What came back for a frame: why nothing, or what, and when its run began."""

    reason: str | None
    result: AnomalyResult | None = None
    begin_s: float = 0.0


class Judge:
    """Judges the frames of the cameras that share one recipe; it belongs to the engine's thread.

    Attributes:
        detector: What it judges with.
        identity: What records say about that.
        trouble: What the engine failed with when it was last asked; None if it answered.
    """

    def __init__(self, detector: Detector) -> None:
        """Wrap a detector that is loaded."""
        self.detector = detector
        self.identity = identify(detector)
        self.trouble: str | None = None
        self._debounces: dict[str, Debounce] = {}

    def judge(self, taken: Sequence[Taken]) -> list[Judged]:
        """Judge frames in one run of the graph; one that cannot be judged says why.

        A frame that breaks the whole run is found by judging each alone.
        """
        pictures = {
            t.ticket.number: t.frame.image_bgr for t in taken if t.frame.image_bgr is not None
        }
        answers = dict(zip(pictures, self._predict([*pictures.values()]), strict=True))
        return [
            self._judged(t, answers.get(t.ticket.number) or _Answer(t.frame.error)) for t in taken
        ]

    def _predict(self, pictures: Sequence[ImageU8]) -> list[_Answer]:
        if not pictures:
            return []
        begin_s = time.monotonic()
        try:
            found = self.detector.predict_batch(pictures)
        except (InputError, InferenceError) as error:
            if len(pictures) > 1:
                return [self._predict([picture])[0] for picture in pictures]
            if isinstance(error, InferenceError):
                self.trouble = str(error)
            return [_Answer(str(error))]
        self.trouble = _trouble_of(found)
        return [_Answer(None, result, begin_s) for result in found]

    def _judged(self, taken: Taken, answer: _Answer) -> Judged:
        result, captured_s = answer.result, taken.frame.captured_s
        debounce = self._debounce(taken)
        if result is None:
            view = silent_view(taken, answer.reason)
        else:
            if debounce is not None:
                result = debounce.hold(self.detector, result, captured_s)
            view = self._view(taken, result, answer.begin_s)
        if debounce is None:
            return Judged(taken, view, result)
        settled = debounce.settle(Verdict(view.verdict), captured_s)
        return Judged(taken, view, result, settled)

    def _debounce(self, taken: Taken) -> Debounce | None:
        """Return the memory of a free-running camera; a triggered part is never debounced."""
        recipe, camera = self.detector.recipe, taken.ticket.camera
        if taken.frame.trigger is not None or recipe is None or recipe.debounce is None:
            return None
        if camera not in self._debounces:
            self._debounces[camera] = Debounce(recipe.debounce)
        return self._debounces[camera]

    def _view(self, taken: Taken, result: AnomalyResult, begin_s: float) -> ViewRecord:
        view = silent_view(taken, result.reason)
        stages_ms = {**view.stages_ms, **_stages_ms(taken, result, begin_s)}
        view = replace(view, stages_ms=stages_ms)
        if result.verdict is Verdict.NO_RESULT:
            return view
        calibration = self.detector.calibration
        return replace(
            view,
            verdict=result.verdict.value,
            score=result.score,
            p_value=None if calibration is None else calibration.p_value(result.score),
            threshold=result.threshold,
            **self._types(result),
        )

    def _types(self, result: AnomalyResult) -> dict[str, Any]:
        if result.type_score is None:
            return {}
        names = self.detector.artifact.manifest.words.types
        scores = map(float, result.type_score)
        found: dict[str, Any] = {"types": dict(zip(names, scores, strict=True))}
        if result.defect is not None and result.verdict is not Verdict.OK:
            found |= {"defect": result.defect.name, "defect_confidence": result.defect.confidence}
            found |= {"defect_threshold": result.defect.threshold}
        return found

    def check(self) -> None:
        """See whether the engine still answers a black frame with numbers, and set `trouble`."""
        spec = self.detector.artifact.manifest.preprocess
        try:
            result = self.detector.predict(np.zeros((spec.height, spec.width, 3), np.uint8))
        except InferenceError as error:
            self.trouble = str(error)
            return
        self.trouble = _trouble_of([result])


def _trouble_of(results: Sequence[AnomalyResult]) -> str | None:
    told = [a for r in results for a in (r.score, r.anomaly_map, r.type_score) if a is not None]
    if all(np.isfinite(each).all() for each in told):
        return None
    return "it answers with a value that is not a number"


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
        engine=detector.backend.engine_sha256,
    )


def silent_view(taken: Taken, reason: str | None) -> ViewRecord:
    """Return the record of a frame as long as nothing can be said of it: NO_RESULT.

    `reason` may be any library's words; credentials in it are masked.
    """
    frame = taken.frame
    stages_ms = {"queued": _after_ms(frame, taken.ticket.taken_s)}
    if frame.decoded_s is not None:
        stages_ms["decoded"] = _after_ms(frame, frame.decoded_s)
    return ViewRecord(
        camera=taken.ticket.camera,
        frame=frame.name,
        frame_sha256=None,
        verdict="NO_RESULT",
        reason=reason and masked_line(reason),
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
