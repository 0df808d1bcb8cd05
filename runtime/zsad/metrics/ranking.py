"""Ranking metrics for images and pixels, exact with ties.

Every metric here follows from two sorted arrays, the scores of the anomalous and of the normal
items, so no index array (twice the size of the pixels it points to) is ever made: 1000 maps of
518x518 need the caller's maps plus one float32 copy of them.

Anything that would make a figure meaningless (NaN, one class only, shapes that differ) is an
`InputError`. A constant score is a ranking like any other, all ties: its AUROC is 0.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zsad.errors import InputError
from zsad.metrics.arrays import Floats, as_bool, as_floats, as_maps
from zsad.metrics.curve import Curve

CHUNK = 1 << 20
"""Anomalous items compared at a time; bounds the int64 counts that exist at once."""


@dataclass(frozen=True)
class F1Max:
    """The best F1 over all thresholds.

    Attributes:
        f1: Its value, in [0, 1].
        threshold: Items with score > threshold are called anomalous, as everywhere in zsad.
    """

    f1: float
    threshold: float


@dataclass(frozen=True)
class PixelRanking:
    """The ranking metrics of pixels, from one sort of them; each in [0, 1]."""

    auroc: float
    ap: float
    f1_max: float


def auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the area under the ROC curve; a tie counts half.

    Args:
        scores: (N,) real numbers, higher = more anomalous.
        labels: (N,) bool, or integers 0 (normal) and 1 (anomalous).

    Returns:
        The probability, in [0, 1], that an anomalous item scores higher than a normal one.

    Raises:
        InputError: Shapes differ, a score is not finite, a label is neither 0 nor 1, or one of the
            two classes is missing.
    """
    return _auroc(*_split(scores, labels))


def average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the average precision: sum of precision times recall step, without interpolation.

    Arguments, range and errors as in `auroc`. Tied items enter together.
    """
    return _average_precision(*_split(scores, labels))


def f1_max(scores: npt.ArrayLike, labels: npt.ArrayLike) -> F1Max:
    """Return the best F1 over all thresholds, and the threshold that gives it.

    Arguments and errors as in `auroc`. Of equally good thresholds the highest is returned.
    """
    anomalous, normal = _split(scores, labels)
    f1, score = _best_f1(anomalous, normal)
    return F1Max(f1, _just_below(score, anomalous, normal))


def roc_curve(scores: npt.ArrayLike, labels: npt.ArrayLike) -> Curve:
    """Return the true positive rate (y) against the false positive rate (x).

    Arguments and errors as in `auroc`, which is the area under it: tied items enter together.
    """
    anomalous, normal = _split(scores, labels)
    thresholds = np.unique(np.concatenate([anomalous, normal]))[::-1]
    x, y = (
        1 - np.append(side.size, np.searchsorted(side, thresholds, side="left")) / side.size
        for side in (normal, anomalous)
    )
    return Curve(x, y)


def pixel_auroc(maps: Floats, masks: npt.NDArray[np.bool_]) -> float:
    """Return the AUROC over all pixels of all maps.

    Args:
        maps: (N, H, W) floating point, higher = more anomalous.
        masks: (N, H, W) bool, True where anomalous.

    Raises:
        InputError: As `auroc`; also if the masks are not bool.
    """
    return auroc(*_pixels(maps, masks))


def pixel_ap(maps: Floats, masks: npt.NDArray[np.bool_]) -> float:
    """Return the average precision over all pixels; arguments and errors as in `pixel_auroc`."""
    return average_precision(*_pixels(maps, masks))


def pixel_f1_max(maps: Floats, masks: npt.NDArray[np.bool_]) -> F1Max:
    """Return the best F1 over all pixels; arguments and errors as in `pixel_auroc`."""
    return f1_max(*_pixels(maps, masks))


def pixel_ranking(maps: Floats, masks: npt.NDArray[np.bool_]) -> PixelRanking:
    """Return all of the above from one sort; arguments and errors as in `pixel_auroc`."""
    anomalous, normal = _split(*_pixels(maps, masks))
    return PixelRanking(
        _auroc(anomalous, normal),
        _average_precision(anomalous, normal),
        _best_f1(anomalous, normal)[0],
    )


def _auroc(anomalous: Floats, normal: Floats) -> float:
    below_twice = 0
    for _, _, at_least, above in _counts(anomalous, normal):
        # Normal items below, plus normal items not above: a tie is counted once, a win twice.
        below_twice += int((2 * normal.size - at_least - above).sum())
    return below_twice / (2 * anomalous.size * normal.size)


def _average_precision(anomalous: Floats, normal: Floats) -> float:
    # A recall step is one anomalous item, so the sum is the mean precision over these items.
    total = sum(
        float((hits / (hits + false_alarms)).sum())
        for _, hits, false_alarms, _ in _counts(anomalous, normal)
    )
    return total / anomalous.size


def _best_f1(anomalous: Floats, normal: Floats) -> tuple[float, float]:
    """Return the best F1 and the highest score whose call `>= score` gives it."""
    best, score = 0.0, float(anomalous[-1])
    for values, hits, false_alarms, _ in _counts(anomalous, normal):
        f1 = 2 * hits / (hits + false_alarms + anomalous.size)
        # The last maximum, as the values ascend.
        at = f1.size - 1 - int(np.argmax(f1[::-1]))
        if f1[at] >= best:
            best, score = float(f1[at]), float(values[at])
    return best, score


def _counts(
    anomalous: Floats, normal: Floats
) -> Iterator[tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield, in chunks of ascending anomalous scores v: v, #anomalous >= v, #normal >= v, > v.

    Between two anomalous scores a lower threshold only adds false alarms, so these are all the
    thresholds that any metric here needs.
    """
    for start in range(0, anomalous.size, CHUNK):
        values = anomalous[start : start + CHUNK]
        hits = anomalous.size - np.searchsorted(anomalous, values, side="left")
        at_least = normal.size - np.searchsorted(normal, values, side="left")
        above = normal.size - np.searchsorted(normal, values, side="right")
        yield values, hits, at_least, above


def _just_below(score: float, anomalous: Floats, normal: Floats) -> float:
    """Return the highest score seen below `score`, so that `> threshold` means `>= score`."""
    lower = [
        float(side[index - 1])
        for side in (anomalous, normal)
        if (index := int(np.searchsorted(side, score, side="left"))) > 0
    ]
    return max(lower) if lower else float(np.nextafter(score, -np.inf))


def _pixels(
    maps: Floats, masks: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    values, truth = as_maps(maps, masks)
    return values.reshape(-1), truth.reshape(-1)  # (N*H*W,)


def _split(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the sorted scores of the anomalous and of the normal items, checked."""
    values, truth = as_floats(scores), as_bool(labels)
    if values.ndim != 1 or values.shape != truth.shape:
        raise InputError(
            f"scores and labels must both be (N,), found {values.shape} and {truth.shape}"
        )
    anomalous, normal = values[truth], values[~truth]
    if anomalous.size == 0 or normal.size == 0:
        raise InputError(
            f"a ranking needs both classes, found {anomalous.size} anomalous "
            f"and {normal.size} normal"
        )
    anomalous.sort()
    normal.sort()
    # NaN sorts last and infinities sort to the ends, so four values tell about all of them.
    if not np.isfinite([anomalous[0], anomalous[-1], normal[0], normal[-1]]).all():
        raise InputError("a score is NaN or infinite: nothing can be ranked")
    return anomalous, normal
