"""What an evaluation found, as data that is written as JSON and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zsad.errors import InputError
from zsad.schema import from_json, read_json

SCHEMA = 2

METRICS = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1_max": "image F1max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1_max": "pixel F1max",
    "aupro": "AUPRO",
    "rcpro": "RCPRO",
}
"""Keys of `Row.figures`, with the headings of the table; schema 1 ends at `pixel_ap`."""


@dataclass(frozen=True)
class Figure:
    """A metric in [0, 1], or a difference of two, with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """The figures of one class, or their mean over classes.

    Attributes:
        name: Class name, `mean` or `floor`.
        n_good: Normal images.
        n_defective: Anomalous images.
        figures: Keyed as `METRICS`; None where the images cannot give it (one label only, no
            masks), absent where the schema does not know it.
    """

    name: str
    n_good: int
    n_defective: int
    figures: Mapping[str, Figure | None]


@dataclass(frozen=True)
class Decisions:
    """Verdicts against the truth at the recipe's threshold."""

    threshold: float
    good: int
    good_rejected: int
    defective: int
    defective_passed: int


@dataclass(frozen=True)
class Evaluation:
    """Everything needed to print, compare or doubt a figure.

    Attributes:
        subject: What was evaluated: name, hashes, backend, as plain JSON values.
        dataset: Name of the data set.
        n_excluded: Images left out by name.
        map_hw: Rows and columns at which pixels were compared; None without masks.
        lost_masks: Anomalous images whose defect is too small to survive that size; their pixels
            count as normal, as in the literature's code.
        classes: One row per class.
        mean: Unweighted mean over the classes that have the figure.
        image_floor: The plain image statistics that the floor is made of.
        pixel_floor: The plain pixel statistic that the floor is made of.
        floor_classes: The floor's figures per class.
        floor: Their mean.
        margin: Mean over the classes that have both of model minus floor, paired: both meet the
            same resamples.
        decisions: Verdicts, where a recipe gave a threshold.
        draws: Bootstrap resamples.
        seed: Their seed.
        made_by: Versions of what computed this.
        evidence: SHA-256 of the files beside this one that hold the scores and counts per image,
            by their suffix (`zsad.evaluate.evidence`); empty in schema 1.
        empty_masks: Anomalous images whose mask has no anomalous pixel to begin with; absent from
            files of before it was counted.
    """

    schema: int
    subject: Mapping[str, Any]
    dataset: str
    n_excluded: int
    map_hw: tuple[int, int] | None
    lost_masks: int
    classes: tuple[Row, ...]
    mean: Row
    image_floor: str | None
    pixel_floor: str | None
    floor_classes: tuple[Row, ...]
    floor: Row
    margin: Mapping[str, Figure | None]
    decisions: Decisions | None
    draws: int
    seed: int
    made_by: Mapping[str, str]
    evidence: Mapping[str, str] = field(default_factory=dict)
    empty_masks: int = 0


def read_evaluation(path: str | Path) -> Evaluation:
    """Read an evaluation of any schema so far.

    Raises:
        InputError: The file is missing, not JSON, of a newer schema, or no evaluation.
    """
    data = read_json(Path(path), "evaluation")
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise InputError(f"{path} is not an evaluation of schema 1 to {SCHEMA}: run zsad-eval")
    return from_json(Evaluation, data, str(path))
