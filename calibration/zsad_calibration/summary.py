"""What `zsad-calibrate` says about the recipe that it wrote."""

from __future__ import annotations

from zsad.inspection.config import Inspection
from zsad.recipe import Calibration
from zsad.scores import ScoreKind
from zsad.watch.appearance import MIN_PARTS, DriftReference
from zsad_calibration.good_frames import UniqueFrames
from zsad_calibration.merge import Merged
from zsad_calibration.threshold import parts_needed, percent

_CURVE_ROWS = 6


def described_frames(frames: UniqueFrames) -> str:
    """Return how many frames there were, and how many parts they show."""
    line = f"from {len(frames.names)} good frames"
    if not (repeated := len(frames.names) - frames.parts):
        return line
    line += f" of {frames.parts} parts"
    # Where most frames repeat, the parts may only be too alike for a thumbnail.
    hint = " (--each-frame-a-part if they do not)" if repeated > frames.parts else ""
    return f"{line}: {repeated} show a part again{hint}"


def described_score(kind: ScoreKind, inspection: Inspection) -> str:
    """Return the kind of score, and what forces it."""
    line = f"score kind {kind}"
    if not inspection.needs_map:
        return line
    given = [n for n, v in (("a region", inspection.roi), ("tiles", inspection.tiles)) if v]
    return f"{line}: {' and '.join(given)} can only be scored by the map"


def described(calibration: Calibration) -> str:
    """Return the thresholds, and between what the scores of good parts lie."""
    low, high = calibration.good_scores[0], calibration.good_scores[-1]
    line = f"NG above {calibration.threshold:.4f}, good parts score {low:.4f} to {high:.4f}"
    types = (f"{each.name} above {each.threshold:.4f}" for each in calibration.types)
    return "; ".join([line, *types])


def curve_table(calibration: Calibration) -> str:
    """Return what other thresholds would cost, as lines of text."""
    confidence = percent(calibration.bound.confidence)
    head = f"    {'NG above':>10}{'good parts rejected':>22}{f'at most ({confidence})':>18}"
    rows = [
        f"    {p.threshold:>10.4f}{percent(p.expected_share):>22}{percent(p.max_share):>18}"
        for p in calibration.curve[:_CURVE_ROWS]
    ]
    return "\n".join([head, *rows])


def promise(calibration: Calibration) -> str:
    """Return what the number of parts supports, and what 1 % would take."""
    bound, scores = calibration.bound, 1 + len(calibration.types)
    about = "" if scores == 1 else f" by any of {scores} thresholds"
    line = (
        f"{bound.n_unique} distinct parts support at most {percent(bound.max_false_reject)} false "
        f"rejects{about}, with {percent(bound.confidence)} confidence"
    )
    needed = parts_needed(0.01, bound.confidence, scores)
    return line if bound.n_unique >= needed else f"{line}; 1 % takes {needed}"


def described_merge(merged: Merged) -> str | None:
    """Return what became of the calibrations that were there before; None if there were none."""
    if merged.kept:
        return f"{_calibrations(merged.kept)} of other graphs kept"
    if merged.dropped:
        count = _calibrations(merged.dropped)
        return f"{count} of other graphs dropped: made with another {merged.reason}"
    return None


def _calibrations(count: int) -> str:
    return f"{count} calibration{'s' if count > 1 else ''}"


def described_drift(look: DriftReference | None) -> str:
    """Return from what drift will be told, or why it will not."""
    if look is None:
        return f"drift of light, lens and fixture is not watched: that takes {MIN_PARTS} good parts"
    return f"drift is watched by the look of {len(look.levels)} good parts"
