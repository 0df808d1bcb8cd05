"""How far a graph was found to be from its reference, as a manifest keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

BudgetVerdict = Literal["within", "over", "not shown"]


@dataclass(frozen=True)
class MetricDelta:
    """Graph minus reference on the same images, with its paired 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class DataParity:
    """How far a graph is from its reference on a labelled data set.

    Attributes:
        dataset: Name of the data set.
        n_good: Normal images.
        n_defective: Anomalous images.
        score_max_abs: Largest absolute difference of the score.
        score_mean_abs: Mean absolute difference of the score.
        worst_image: Name of the image with the largest difference of score or map.
        map_max_abs: Largest absolute difference of the anomaly map.
        map_mean_abs: Mean absolute difference of the anomaly map.
        map_correlation: As in `ParityRecord`.
        kendall_tau: Rank agreement of the scores (tau-b); None where one is the same everywhere.
        most_flips: Images whose verdicts differ at the threshold where most of them do.
        deltas: By metric (`image_auroc`, `pixel_auroc`, `aupro`, ...), as far as the labels and
            masks give it; means over classes, in [-1, 1].
        auroc_budget: Largest difference of image and pixel AUROC that the precision is allowed.
        verdict: `within` where the whole interval of each AUROC's difference lies in the budget,
            `over` where one lies outside; `not shown` where the images are too few to tell.
    """

    dataset: str
    n_good: int
    n_defective: int
    score_max_abs: float
    score_mean_abs: float
    worst_image: str
    map_max_abs: float
    map_mean_abs: float
    map_correlation: float | None
    kendall_tau: float | None
    most_flips: int
    deltas: Mapping[str, MetricDelta]
    auroc_budget: float
    verdict: BudgetVerdict


@dataclass(frozen=True)
class ParityRecord:
    """How far a graph is from the PyTorch reference on the golden frames.

    Attributes:
        frames: Number of golden frames, each from camera frame to score and map.
        backend: What ran the graph, with its version.
        score_max_abs: Largest absolute difference of the score.
        map_max_abs: Largest absolute difference of the anomaly map.
        map_mean_abs: Mean absolute difference of the anomaly map.
        map_correlation: Smallest Pearson correlation over frames whose reference map varies by
            more than ten times the allowed error; None if none does.
        largest_magnitude: Largest absolute value of any FP16 tensor on the golden frames, None for
            a graph without FP16.
        evidence: What stands behind the figures, for example `FP16 emulated on CPU`.
        score_mean_abs: Mean absolute difference of the score; this and what follows is absent from
            artifacts of before it was kept.
        worst_frame: Name of the golden frame that is furthest over, or nearest to, the limits.
        kendall_tau: Rank agreement of the golden frames' scores (tau-b).
        most_flips: Golden frames whose verdicts differ at the threshold where most of them do.
        float32: Modules of a half-precision graph that compute in float32, since half precision
            cannot hold them.
        data: The same on labelled images, where the export was given some.
    """

    frames: int
    backend: str
    score_max_abs: float
    map_max_abs: float
    map_mean_abs: float
    map_correlation: float | None
    largest_magnitude: float | None
    evidence: str
    score_mean_abs: float | None = None
    worst_frame: str | None = None
    kendall_tau: float | None = None
    most_flips: int | None = None
    float32: tuple[str, ...] = ()
    data: DataParity | None = None
