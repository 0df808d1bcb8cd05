"""What is kept and told of one part: the record that ledger, sinks and replay share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zsad.arithmetic import Arithmetic
from zsad.results import VerdictName

SCHEMA = 1


@dataclass(frozen=True)
class ViewRecord:
    """One frame's share in the verdict about a part.

    Attributes:
        camera: The camera's name in the configuration.
        frame: The frame's number in its stream, or its file name.
        frame_sha256: `zsad.images.frame_sha256` of the frame; None where there was no image.
        verdict: What this view says.
        reason: Why it says nothing; None where it does.
        score: Raw score in [0, 1], of the recipe's kind; None without a result.
        p_value: Calibrated score: (1 + good parts that scored at least as high) / (good parts
            + 1), in (0, 1], low = anomalous; None without a calibration.
        threshold: What `score` was compared with, hysteresis included.
        score_kind: Kind of the score.
        types: Score per defect type, where the method has types.
        defect: The defect type, where the method has types and the view is not OK.
        defect_confidence: Its confidence, in (0, 1].
        defect_threshold: The defect type's own threshold, where its score is above one; then it,
            not `threshold`, made the view NG.
        stages_ms: Milliseconds after capture at which each stage was over: `decoded`, `queued`
            (taken from mailbox or queue), `preprocessed`, `inferred`, `judged`.
        artifact: SHA-256 of the artifact's manifest.
        graph: SHA-256 of the graph that ran.
        backend: Name of the backend that ran it.
        engine: SHA-256 of the engine's file, where the backend runs one from a file.
        arithmetic: What the engine computed in; None where that is what the graph says.
        recipe: SHA-256 of the recipe, of its canonical JSON; None without one.
        calibration: SHA-256 of the calibration in use, likewise.
        snapshot: File name of the stored frame below the ledger's folder; None if none is kept.
        heat_map: File name of the stored overlay, likewise.
    """

    camera: str
    frame: str
    frame_sha256: str | None
    verdict: VerdictName
    reason: str | None
    score: float | None
    p_value: float | None
    threshold: float | None
    score_kind: str
    artifact: str
    graph: str
    backend: str
    types: Mapping[str, float] = field(default_factory=dict)
    defect: str | None = None
    defect_confidence: float | None = None
    defect_threshold: float | None = None
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    engine: str | None = None
    arithmetic: Arithmetic | None = None
    recipe: str | None = None
    calibration: str | None = None
    snapshot: str | None = None
    heat_map: str | None = None


@dataclass(frozen=True)
class VerdictRecord:
    """The verdict about one part.

    Attributes:
        seq: Number in the ledger, from 1, without gaps; 0 until it is committed.
        line: The line's name in the configuration.
        part: Trigger id of the part; a free-running camera's own frame number otherwise.
        verdict: The worst of its views, after debounce: NG, NO_RESULT, UNCALIBRATED, OK.
        reason: Why there is no result; None where there is one.
        views: One per frame, in the order in which they came.
        captured_utc: When its first frame was captured, ISO 8601 in UTC, for display only.
        decided_utc: When the verdict was reached, likewise.
        capture_to_verdict_ms: Between the two on the monotonic clock.
        dry_run: Whether the line was told that its verdicts move nothing.
        triggered: Whether `part` is a trigger's id; only then may it answer a trigger.
        late: Whether it was recorded only after the line had been told NO_RESULT for want of a
            record; it shows that the part existed, and moves nothing.
    """

    seq: int
    line: str
    part: str
    verdict: VerdictName
    reason: str | None
    views: tuple[ViewRecord, ...]
    captured_utc: str
    decided_utc: str
    capture_to_verdict_ms: float
    dry_run: bool = False
    triggered: bool = False
    late: bool = False
    schema: int = SCHEMA
