"""What an evaluation found, as data: written as JSON, read back, printed as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsad.errors import InputError
from zsad.schema import from_json, read_json, write_atomic, write_json

SCHEMA = 1

METRICS = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1_max": "image F1max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
}
"""Keys of `Row.figures`, with the headings of the table."""

FEW = 20
"""Images of a label below which the table warns about the interval."""


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
            masks).
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
        margin: `mean` minus `floor`, paired: both meet the same resamples.
        decisions: Verdicts, where a recipe gave a threshold.
        draws: Bootstrap resamples.
        seed: Their seed.
        made_by: Versions of what computed this.
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


def read_evaluation(path: str | Path) -> Evaluation:
    """Read what `write_evaluation` wrote.

    Raises:
        InputError: The file is missing, not JSON, of a newer schema, or no evaluation.
    """
    data = read_json(Path(path), "evaluation")
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise InputError(f"{path} is not an evaluation of schema 1 to {SCHEMA}: run zsad-eval")
    return from_json(Evaluation, data, str(path))


def write_evaluation(path: str | Path, evaluation: Evaluation) -> None:
    """Write `path` as JSON and the same tables as Markdown beside it, with suffix `.md`."""
    path = Path(path)
    write_json(path, evaluation)
    write_atomic(path.with_suffix(".md"), markdown(evaluation).encode())


def text_table(evaluation: Evaluation) -> str:
    """Return the table for a terminal, in percent, with what must be known to read it."""
    table = _cells(evaluation)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table]
    rule = "-" * len(lines[0])
    return "\n".join(
        [lines[0].rstrip(), rule, *(x.rstrip() for x in lines[1:]), *_notes(evaluation)]
    )


def markdown(evaluation: Evaluation) -> str:
    """Return the table and its notes as Markdown."""
    head, *body = _cells(evaluation)
    lines = [f"# {evaluation.subject.get('name', '?')} on {evaluation.dataset}", ""]
    lines += [_markdown_row(head), _markdown_row(["---"] * len(head))]
    lines += [_markdown_row(row) for row in body]
    lines += ["", *(f"- {note}" for note in _notes(evaluation))]
    return "\n".join(lines) + "\n"


def _cells(evaluation: Evaluation) -> list[list[str]]:
    metrics = [k for k in METRICS if evaluation.mean.figures.get(k) is not None]
    several = len(evaluation.classes) > 1
    rows = [*evaluation.classes, evaluation.mean] if several else list(evaluation.classes)
    table = [["class", "good", "defective", *(METRICS[k] for k in metrics)]]
    for row in [*rows, evaluation.floor]:
        figures = [_percent(row.figures.get(k)) for k in metrics]
        table.append([row.name, str(row.n_good), str(row.n_defective), *figures])
    margin = [_percent(evaluation.margin.get(k), sign="+") for k in metrics]
    return [*table, ["over the floor", "", "", *margin]]


def _notes(evaluation: Evaluation) -> list[str]:
    floors = [
        f"{kind} [{name}]"
        for kind, name in (("image", evaluation.image_floor), ("pixel", evaluation.pixel_floor))
        if name is not None
    ]
    notes = [
        "percent, with 95 % bootstrap intervals over images "
        f"({evaluation.draws} resamples, seed {evaluation.seed})",
        f"floor: best plain statistics, chosen with the test labels: {', '.join(floors)}",
    ]
    if any(min(row.n_good, row.n_defective) < FEW for row in evaluation.classes):
        notes.append(
            f"a class with fewer than {FEW} good or defective images has too narrow an interval: "
            "a bootstrap cannot know what so few did not show"
        )
    if evaluation.map_hw is not None:
        height, width = evaluation.map_hw
        notes.append(f"pixels compared at {height}x{width}, the size of the anomaly map")
    if evaluation.lost_masks:
        notes.append(f"{evaluation.lost_masks} defects are too small to be seen at that size")
    if evaluation.n_excluded:
        notes.append(f"{evaluation.n_excluded} images left out by name")
    if evaluation.decisions is not None:
        notes.append(_decision_note(evaluation.decisions))
    return notes


def _decision_note(decisions: Decisions) -> str:
    return (
        f"at the recipe's threshold {decisions.threshold:.4f}: {decisions.good_rejected} of "
        f"{decisions.good} good images rejected, {decisions.defective_passed} of "
        f"{decisions.defective} defective images passed"
    )


def _percent(figure: Figure | None, sign: str = "") -> str:
    if figure is None:
        return "-"
    spec = f"{sign}.1f"
    low, high = 100 * figure.low, 100 * figure.high
    return f"{100 * figure.value:{spec}} [{low:{spec}}, {high:{spec}}]"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
