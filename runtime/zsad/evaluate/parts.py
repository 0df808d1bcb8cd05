"""Evaluations of several parts of one data set, each image judged once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zsad.data import Dataset
from zsad.data.subset import Entry, entries_of
from zsad.errors import InputError
from zsad.evaluate.collect import ClassData, Collected, Predictor, collect
from zsad.evaluate.evaluation import Evaluation
from zsad.evaluate.pixel_file import PixelFile
from zsad.evaluate.protocol import examination_of
from zsad.metrics.bootstrap import DRAWS


def evaluate_parts(
    predictor: Predictor,
    whole: Dataset,
    parts: Sequence[Dataset],
    *,
    subject: Mapping[str, Any],
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Evaluation]:
    """Return what `evaluate` returns for each part, in the time of evaluating the whole once.

    An image is read, judged and its statistics taken once, however many parts hold it; the floor
    is chosen anew for each part, from the labels of that part.

    Args:
        predictor: What is evaluated.
        whole: Labelled images without masks.
        parts: Data sets whose images are those of `whole`, by name.
        subject: What `predictor` is.
        draws: Bootstrap resamples behind every interval.
        seed: Seed of the resamples.

    Raises:
        InputError: The set has masks, a part has an image that the whole has not, or what
            `evaluate` raises.
    """
    if whole.has_masks:
        raise InputError(f"{whole.name} has masks: evaluate its parts one by one")
    no_pixels = PixelFile()
    found = collect(predictor, whole, no_pixels)
    known = {
        name: (data, at) for data in found.classes.values() for at, name in enumerate(data.images)
    }
    return [
        examination_of(
            _chosen(known, part.name, entries_of(part), found.threshold),
            no_pixels,
            part.name,
            subject,
            draws,
            seed,
        ).evaluation
        for part in parts
    ]


def _chosen(
    known: Mapping[str, tuple[ClassData, int]],
    part: str,
    entries: Sequence[Entry],
    threshold: float | None,
) -> Collected:
    """Return what was collected of the named images, in the order of the names."""
    chosen = Collected(threshold=threshold)
    for entry in entries:
        if entry.name not in known:
            raise InputError(f"image '{entry.name}' of {part} is not in the whole set")
        data, at = known[entry.name]
        chosen.of_class(data.name).add(
            data.images[at],
            data.labels[at],
            data.scores[at],
            data.verdicts[at],
            data.statistics[at],
        )
    return chosen
