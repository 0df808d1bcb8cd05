"""A view judged again by the rules that its record was reached with, and the part by its views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsad.detector import Detector
from zsad.errors import InputError, ParityError
from zsad.inspection.parts import worst
from zsad.line.record import VerdictRecord, ViewRecord
from zsad.recipe import Calibration
from zsad.results import VerdictName
from zsad.schema import sha256_of
from zsad.types import AnomalyResult, ImageU8

OTHER_BACKEND_TOLERANCE = 5e-3
"""What two engines of one graph may differ by in the score; the parity gate's limit for FP16."""

_LARGEST_BATCH = 8


@dataclass(frozen=True)
class ViewReplay:
    """One view computed again.

    Attributes:
        view: Its index in the record.
        camera: Its camera.
        recorded: The score in the ledger.
        computed: The score now.
        apart: How far the scores are apart, those of defect types included.
        verdict: What the record says about it.
        computed_verdict: What the scores now say about it, at the thresholds of the record.
        batch: How many copies of the frame were judged in one run to get there.
        backend: What ran the graph now.
        tolerance: What the scores may differ by; 0 on the backend of the record.
    """

    view: int
    camera: str
    recorded: float
    computed: float
    apart: float
    verdict: VerdictName
    computed_verdict: VerdictName
    batch: int
    backend: str
    tolerance: float

    @property
    def within(self) -> bool:
        """Whether verdict and scores agree as closely as is asked for; never where one is NaN."""
        return self.apart <= self.tolerance and self.verdict == self.computed_verdict


@dataclass(frozen=True)
class PartReplay:
    """The part's verdict reached again from its views.

    Attributes:
        verdict: What the record says.
        computed: The worst of its views; where one was not computed, what the record says of it.
        not_compared: Why the two need not agree; None where they have to.
    """

    verdict: VerdictName
    computed: VerdictName
    not_compared: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether nothing speaks against the record."""
        return self.not_compared is not None or self.verdict == self.computed


@dataclass(frozen=True)
class Replay:
    """A verdict computed again.

    Attributes:
        views: Those that have a score and a frame.
        skipped: Why the others could not be computed, one line each.
        part: The verdict about all of them.
    """

    views: tuple[ViewReplay, ...]
    skipped: tuple[str, ...]
    part: PartReplay

    @property
    def matches(self) -> bool:
        """Whether every view that could be computed agrees, and the part with its views."""
        return self.part.agrees and all(view.within for view in self.views)


def part_replay(record: VerdictRecord, found: Sequence[ViewReplay], debounced: bool) -> PartReplay:
    """Return what the views say about their part, against what the record says.

    Args:
        record: From the ledger.
        found: Those of its views that were computed.
        debounced: Whether earlier frames had a say in it.
    """
    now = {each.view: each.computed_verdict for each in found}
    computed = worst(now.get(index, view.verdict) for index, view in enumerate(record.views))
    why = None
    if debounced:
        why = "frames before it had a say, by the recipe's debounce"
    elif record.verdict == "NO_RESULT" != computed:
        # A view that is missing, a commit that was late: the record alone knows of it.
        why = f"not for what its views show: {record.reason}"
    return PartReplay(record.verdict, computed, why)


def calibration_of_record(seq: int, view: ViewRecord, detector: Detector) -> Calibration | None:
    """Return what a view was compared with, of the detector's recipe; None without a threshold.

    That is the recorded one also on a backend that the recipe was not calibrated for.

    Raises:
        InputError: The recipe holds no such calibration.
    """
    if view.threshold is None or detector.recipe is None:
        return None
    named = (c for c in detector.recipe.calibrations if sha256_of(c) == view.calibration)
    # A calibration that was written before a field was added has another hash by now.
    found = next(named, detector.calibration)
    if found is None:
        raise InputError(
            f"verdict {seq} cannot be replayed on {detector.backend.name}: {detector.refusal}"
        )
    return found


def rejudge(detector: Detector, index: int, view: ViewRecord, frame: ImageU8) -> ViewReplay:
    """Compute a view again, in runs of more than one frame where one does not give its scores.

    Args:
        detector: Holds the graph, and the calibration that the view was compared with.
        index: The view's in its record.
        view: It has a score.
        frame: What was judged, (H, W, 3) uint8 BGR.

    Raises:
        ParityError: The view's threshold is none that the recipe can give.
    """
    assert view.score is not None
    tolerance = 0.0 if detector.backend.name == view.backend else OTHER_BACKEND_TOLERANCE
    batch, result = _nearest_run(detector, view, frame, tolerance)
    lowered = _lowered(detector, view)
    return ViewReplay(
        view=index,
        camera=view.camera,
        recorded=view.score,
        computed=result.score,
        apart=_apart(detector, view, result),
        verdict=view.verdict,
        computed_verdict=detector.decide(result, lowered).verdict.value,
        batch=batch,
        backend=detector.backend.name,
        tolerance=tolerance,
    )


def _nearest_run(
    detector: Detector, view: ViewRecord, frame: ImageU8, tolerance: float
) -> tuple[int, AnomalyResult]:
    """Return the smallest run that gives the view's scores, or else the run of one frame."""
    alone = detector.predict(frame)
    if _apart(detector, view, alone) <= tolerance:
        return 1, alone
    for batch in range(2, _LARGEST_BATCH + 1):
        try:
            result = detector.predict_batch([frame] * batch)[0]
        except InputError:  # more than the engine was built for
            break
        if _apart(detector, view, result) <= tolerance:
            return batch, result
    return 1, alone


def _apart(detector: Detector, view: ViewRecord, result: AnomalyResult) -> float:
    """Return the largest difference of the view's scores; NaN where one is."""
    assert view.score is not None
    differences = [abs(result.score - view.score)]
    if view.types and result.type_score is not None:
        names = detector.artifact.manifest.words.types
        now = dict(zip(names, map(float, result.type_score), strict=True))
        differences += [abs(now[name] - was) for name, was in view.types.items()]
    # Python's max would lose a NaN that is not the first.
    return float(np.max(differences))


def _lowered(detector: Detector, view: ViewRecord) -> float:
    """Return by which share the thresholds were lower when the view was judged."""
    recipe, calibration = detector.recipe, detector.calibration
    if recipe is None or calibration is None:
        return 0.0
    hysteresis = 0.0 if recipe.debounce is None else recipe.debounce.hysteresis
    for lowered in (0.0, hysteresis):
        if calibration.threshold * (1 - lowered) == view.threshold:
            return lowered
    raise ParityError(
        f"view {view.camera} was compared with {view.threshold!r}, its recipe compares with"
        f" {calibration.threshold!r}: the record was altered"
    )
