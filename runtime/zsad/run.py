"""Judges every frame of a source and records each one, whatever happens to any of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from zsad.credentials import masked_line
from zsad.detector import Detector
from zsad.errors import InferenceError, InputError
from zsad.outputs import Output
from zsad.results import ResultRow
from zsad.sources.base import Frame, Source
from zsad.summary import RunSummary
from zsad.types import AnomalyResult, Verdict


@dataclass(frozen=True)
class Limits:
    """When a run ends by itself; None never does."""

    frames: int | None = None
    duration_s: float | None = None


def run(
    detector: Detector,
    source: Source,
    output: Output,
    limits: Limits = Limits(),  # frozen
    stop: Callable[[], bool] = lambda: False,
    on_row: Callable[[ResultRow], None] = lambda row: None,
) -> RunSummary:
    """Judge the frames of a source until it ends, a limit is met or `stop()` is true.

    A frame that cannot be judged becomes a NO_RESULT row with its reason. When the source fails,
    what was judged is still recorded whole before the error is raised.

    Raises:
        InputError: The source failed, or not one frame could be judged.
    """
    summary = RunSummary()
    start = time.monotonic()

    def over() -> bool:
        spent = time.monotonic() - start
        return stop() or (limits.duration_s is not None and spent >= limits.duration_s)

    failure: InputError | None = None
    with source:
        try:
            for frame in source.frames(over):
                row, result = judge(detector, frame, summary.judged, source.name)
                recorded = output.write(row, frame.image_bgr, result)
                summary.add(recorded)
                on_row(recorded)
                if summary.judged == limits.frames:
                    break
        except InputError as error:
            failure = error
    summary.captured, summary.dropped = source.captured, source.dropped
    summary.seconds = time.monotonic() - start
    output.finish(summary)
    if failure is not None:
        raise failure
    if not (summary.with_result or stop()):
        reason = summary.first_reason or "no frame came"
        raise InputError(f"none of {summary.judged} frames could be judged; the first: {reason}")
    return summary


def judge(
    detector: Detector, frame: Frame, seq: int, source: str
) -> tuple[ResultRow, AnomalyResult | None]:
    """Return the row of a frame, and the detector's answer where it gave one."""
    row = ResultRow(
        seq=seq,
        source=source,
        image=frame.name,
        score=None,
        threshold=None,
        verdict="NO_RESULT",
        artifact=detector.artifact.sha256,
        graph=detector.graph.sha256,
        arithmetic=detector.arithmetic,
        reason=frame.error and masked_line(frame.error),
    )
    if frame.image_bgr is None:
        return row, None
    try:
        result = detector.predict(frame.image_bgr)
    except (InputError, InferenceError) as error:
        return replace(row, reason=masked_line(error)), None
    latency_ms = {stage: round(value, 3) for stage, value in result.latency_ms.items()}
    row = replace(row, latency_ms=latency_ms, reason=result.reason)
    if result.verdict is Verdict.NO_RESULT:
        return row, result
    judged = replace(row, score=result.score, threshold=result.threshold)
    return replace(judged, verdict=result.verdict.value, **_types(detector, result)), result


def _types(detector: Detector, result: AnomalyResult) -> dict[str, Any]:
    if result.type_score is None:
        return {}
    names = detector.artifact.manifest.words.types
    found: dict[str, Any] = {"types": dict(zip(names, map(float, result.type_score), strict=True))}
    if result.defect is not None:
        found |= {"defect": result.defect.name, "defect_confidence": result.defect.confidence}
    return found
