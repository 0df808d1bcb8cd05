"""Accuracy of anything that predicts, on anything that is labelled, with the floor beside it.

The protocol is the zero-shot literature's: every metric per class over the images of that class,
then the unweighted mean over classes. Pixels are compared at the size of the anomaly map: the mask
is resized to the map, never the map to the mask.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import zsad
from zsad.data import Dataset
from zsad.errors import InputError
from zsad.evaluate.cases import CaseBook
from zsad.evaluate.collect import ClassData, Collected, Predictor, Progress, collect
from zsad.evaluate.compare import Estimates, compare_images, compare_pixels, difference, mean_over
from zsad.evaluate.evaluation import METRICS, SCHEMA, Decisions, Evaluation, Figure, Row
from zsad.evaluate.evidence import Evidence, ImageScore
from zsad.evaluate.measure import Sampling
from zsad.evaluate.pixel_file import PixelFile
from zsad.metrics.bootstrap import DRAWS, Estimate, interval_of
from zsad.types import Verdict


@dataclass(frozen=True)
class Examination:
    """An evaluation with what stands behind it.

    Attributes:
        evaluation: The figures.
        evidence: Scores and counts per image.
        cases: Pictures of the worst and best images.
    """

    evaluation: Evaluation
    evidence: Evidence
    cases: CaseBook


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    *,
    subject: Mapping[str, Any],
    exclude: Collection[str] = (),
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress | None = None,
    workers: int = 0,
    batch: int = 1,
) -> Evaluation:
    """Return the figures of `examine`; arguments and errors as there."""
    return examine(
        predictor,
        dataset,
        subject=subject,
        exclude=exclude,
        draws=draws,
        seed=seed,
        progress=progress,
        workers=workers,
        batch=batch,
    ).evaluation


def examine(
    predictor: Predictor,
    dataset: Dataset,
    *,
    subject: Mapping[str, Any],
    exclude: Collection[str] = (),
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress | None = None,
    measuring: Callable[[str], Any] | None = None,
    workers: int = 0,
    batch: int = 1,
) -> Examination:
    """Judge every image of a data set and compare with its labels and masks.

    The maps of a data set with masks are kept in a temporary file until the end, and the pixels of
    one class are in memory at a time; docs/evaluate.md has the measured peak.

    Args:
        predictor: What is evaluated.
        dataset: Labelled images. A class with one label only has no image metric, a data set
            without masks no pixel metric.
        subject: What `predictor` is, as plain JSON values with at least a `name`.
        exclude: Names of images to leave out of every figure, those used for calibration above all.
        draws: Bootstrap resamples behind every interval.
        seed: Seed of the resamples.
        progress: Called after each image.
        measuring: Called with the name of each class before its maps are measured, which takes
            longer than to judge them where the model is fast.
        workers: Threads that read images ahead; the figures do not depend on them.
        batch: Images judged at once; above 1 the predictor needs a `predict_batch`. The figures
            depend on it only as far as the predictor's answers do.

    Raises:
        InputError: A score or map cannot be used, no excluded name is in the data set, there is
            nothing to measure, or no room for the temporary file.
    """
    with PixelFile() as kept:
        found = collect(predictor, dataset, kept, frozenset(exclude), progress, workers, batch)
        return examination_of(found, kept, dataset.name, subject, draws, seed, measuring)


def examination_of(
    found: Collected,
    kept: PixelFile,
    dataset: str,
    subject: Mapping[str, Any],
    draws: int = DRAWS,
    seed: int = 0,
    measuring: Callable[[str], Any] | None = None,
) -> Examination:
    """Measure what was collected of the data set of this name; the rest as in `examine`."""
    classes = [found.classes[name] for name in sorted(found.classes)]
    samplings = samplings_of([data.name for data in classes], draws, seed)
    images = compare_images([c for c in classes if c.has_both_labels], samplings)
    pixels = compare_pixels([c for c in classes if c.has_both_pixels], kept, samplings, measuring)
    if images.floor_name is None and pixels.floor_name is None:
        raise InputError(f"{dataset} has no class with both good and defective images")
    model = {c.name: _merged(images.model, pixels.model, c.name) for c in classes}
    floor = {c.name: _merged(images.floor, pixels.floor, c.name) for c in classes}
    # Class by class, as a class with constant maps has an RCPRO of the floor only.
    margin = mean_over([difference(model[c.name], floor[c.name]) for c in classes])
    evaluation = Evaluation(
        schema=SCHEMA,
        subject=subject,
        dataset=dataset,
        n_excluded=found.n_excluded,
        map_hw=kept.map_hw,
        lost_masks=found.lost_masks,
        empty_masks=found.empty_masks,
        classes=_rows(classes, model),
        mean=_row("mean", classes, mean_over(model.values())),
        floor_classes=_rows(classes, floor),
        floor=_row("floor", classes, mean_over(floor.values())),
        margin=figures(margin),
        image_floor=images.floor_name,
        pixel_floor=pixels.floor_name,
        decisions=_decisions(found),
        draws=draws,
        seed=seed,
        made_by=made_by(),
    )
    return Examination(evaluation, Evidence(tuple(_scores(classes)), pixels.counts), found.cases)


def samplings_of(classes: Sequence[str], draws: int, seed: int) -> dict[str, Sampling]:
    """Return the sampling of each class, from the sorted names of all."""
    return {name: Sampling(draws, (seed, index)) for index, name in enumerate(classes)}


def figures(estimates: Estimates) -> dict[str, Figure | None]:
    """Return every metric's figure, None where it has no estimate."""
    return {name: _figure(estimates.get(name)) for name in METRICS}


def made_by() -> dict[str, str]:
    """Return the versions of what computes figures."""
    return {
        "zsad": zsad.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _scores(classes: Sequence[ClassData]) -> Iterator[ImageScore]:
    for data in classes:
        for name, label, score in zip(data.images, data.labels, data.scores, strict=True):
            yield ImageScore(name, data.name, int(label), score)


def _merged(
    images: Mapping[str, Estimates], pixels: Mapping[str, Estimates], name: str
) -> Estimates:
    return {**images.get(name, {}), **pixels.get(name, {})}


def _rows(classes: Sequence[ClassData], estimates: Mapping[str, Estimates]) -> tuple[Row, ...]:
    return tuple(_row(c.name, [c], estimates[c.name]) for c in classes)


def _row(name: str, classes: Sequence[ClassData], estimates: Estimates) -> Row:
    labels = [label for c in classes for label in c.labels]
    return Row(name, labels.count(False), labels.count(True), figures(estimates))


def _figure(estimate: Estimate | None) -> Figure | None:
    if estimate is None:
        return None
    interval = interval_of(estimate.draws)
    return Figure(estimate.value, interval.low, interval.high)


def _decisions(found: Collected) -> Decisions | None:
    if found.threshold is None:
        return None
    pairs = [p for c in found.classes.values() for p in zip(c.labels, c.verdicts, strict=True)]
    return Decisions(
        threshold=found.threshold,
        good=sum(not label for label, _ in pairs),
        good_rejected=sum(v is Verdict.NG for label, v in pairs if not label),
        defective=sum(label for label, _ in pairs),
        defective_passed=sum(v is Verdict.OK for label, v in pairs if label),
    )
