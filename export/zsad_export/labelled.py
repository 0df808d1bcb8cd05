"""Parity on labelled images: what a graph costs of AUROC, and how sure that is. Torch-free.

The reference judges the data set once and its maps are kept in a temporary file; every graph is
then held against it image by image. The differences of the metrics are paired: both sides meet the
same resamples of the images, so that an easy or a hard draw cancels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zsad.closeable import Closeable
from zsad.data import Dataset
from zsad.evaluate import Predictor, Side, Versus, compare_sides, examine
from zsad.golden import GoldenFrame
from zsad.metrics.agreement import kendall_tau, verdict_flips
from zsad.metrics.bootstrap import DRAWS
from zsad.parity import Parity, ParityLimits
from zsad.parity_record import BudgetVerdict, DataParity, MetricDelta
from zsad.scores import ScoreKind
from zsad_export.recorder import Comparer, Recorder, Recording

BUDGETED = ("image_auroc", "pixel_auroc")
"""The metrics that have a budget; the others are reported beside them."""


@dataclass(frozen=True)
class LabelledComparison:
    """A graph against its reference on labelled images.

    Attributes:
        record: The figures, as the manifest keeps them.
        versus: The differences of every metric, class by class.
        reference_scores: (N,) in the order of the data set.
        scores: (N,) of the graph.
        worst: The image that differs most.
    """

    record: DataParity
    versus: Versus
    reference_scores: tuple[float, ...]
    scores: tuple[float, ...]
    worst: GoldenFrame

    @property
    def faults(self) -> list[str]:
        """Return what is over budget, or not shown to be within it, as text."""
        record = self.record
        if record.verdict == "within":
            return []
        budget = f"allowed are {100 * record.auroc_budget:g} points either way"
        moved = ", ".join(
            f"{name.replace('_', ' ')} {_points(record.deltas[name])}"
            for name in BUDGETED
            if name in record.deltas
        )
        said = {
            "over": "that is over",
            "not shown": (
                f"{record.n_good} good and {record.n_defective} defective images are too few to "
                "show it is within: give more"
            ),
        }[record.verdict]
        return [f"on {record.dataset} it moves {moved}; {budget}, {said}"]


class LabelledReference(Closeable):
    """What a reference made of a labelled data set; close it, since its maps take disk space."""

    def __init__(
        self,
        dataset: Dataset,
        predictor: Predictor,
        name: str,
        kind: ScoreKind = "graph",
        draws: int = DRAWS,
    ) -> None:
        """Judge every image of `dataset` with the reference.

        Args:
            dataset: Labelled images.
            predictor: The reference.
            name: What errors call it.
            kind: The score that is compared.
            draws: Bootstrap resamples behind every interval.

        Raises:
            InputError: There is nothing to measure, or no room for the maps.
        """
        self.dataset, self.kind, self._draws = dataset, kind, draws
        self._recording = Recording()
        self._side = self._examine(Recorder(predictor, kind, self._recording), name)

    def compare(
        self, predictor: Predictor, name: str, limits: ParityLimits, budget: float
    ) -> LabelledComparison:
        """Hold a graph against the reference.

        Args:
            predictor: The graph.
            name: What errors call it.
            limits: Which maps are held to a correlation, and how images are ranked by difference.
            budget: Largest difference of AUROC.

        Raises:
            InputError: A score or a map of it is no number.
        """
        comparer = Comparer(predictor, self._recording, self.kind, limits)
        versus = compare_sides(self._examine(comparer, name), self._side)
        parity = Parity(tuple(comparer.frames), limits, np.array(comparer.scores, np.float32))
        worst = self.dataset[int(parity.worst.name)]
        deltas = _deltas(versus)
        rows = versus.differences
        record = DataParity(
            dataset=versus.dataset,
            n_good=rows[-1].n_good,
            n_defective=rows[-1].n_defective,
            score_max_abs=parity.score_max_abs,
            score_mean_abs=parity.score_mean_abs,
            worst_image=worst.name,
            map_max_abs=parity.map_max_abs,
            map_mean_abs=parity.map_mean_abs,
            map_correlation=parity.correlation,
            kendall_tau=kendall_tau(self._recording.scores, comparer.scores),
            most_flips=verdict_flips(self._recording.scores, comparer.scores).most,
            deltas=deltas,
            auroc_budget=budget,
            verdict=judge_budget(deltas, budget, _smallest_step(versus)),
        )
        return LabelledComparison(
            record,
            versus,
            tuple(self._recording.scores),
            tuple(comparer.scores),
            GoldenFrame(worst.name, worst.image_bgr),
        )

    def close(self) -> None:
        """Remove the maps of the reference."""
        self._recording.close()

    def _examine(self, predictor: Predictor, name: str) -> Side:
        found = examine(predictor, self.dataset, subject={"name": name}, draws=self._draws)
        return Side(name, found.evaluation, found.evidence)


def judge_budget(
    deltas: Mapping[str, MetricDelta], budget: float, smallest_step: float
) -> BudgetVerdict:
    """Hold the differences of AUROC against a budget, by the ends of their intervals.

    Both ends count, since a graph that ranks better by chance is as little the same as one that
    ranks worse. An interval that straddles the budget shows neither; nor does any interval of
    images so few that the smallest change of their order exceeds the budget, for there a bootstrap
    sees either nothing or too much.

    Args:
        deltas: By metric; those of `BUDGETED` are judged.
        budget: Largest absolute difference.
        smallest_step: What the image AUROC moves by when one pair of images changes places.
    """
    judged = [deltas[name] for name in BUDGETED if name in deltas]
    if any(delta.low > budget or delta.high < -budget for delta in judged):
        return "over"
    inside = all(-budget <= delta.low and delta.high <= budget for delta in judged)
    return "within" if judged and inside and smallest_step <= budget else "not shown"


def _deltas(versus: Versus) -> dict[str, MetricDelta]:
    found = versus.differences[-1].figures
    return {
        name: MetricDelta(figure.value, figure.low, figure.high)
        for name, figure in found.items()
        if figure is not None
    }


def _smallest_step(versus: Versus) -> float:
    """Return the largest, over classes, of what one swapped pair does to the mean image AUROC."""
    classes = [row for row in versus.differences[:-1] if row.figures.get("image_auroc") is not None]
    return max((1 / (row.n_good * row.n_defective * len(classes)) for row in classes), default=0.0)


def _points(delta: MetricDelta) -> str:
    return f"{100 * delta.value:+.2f} [{100 * delta.low:+.2f}, {100 * delta.high:+.2f}]"
