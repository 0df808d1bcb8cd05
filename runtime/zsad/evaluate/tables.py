"""An evaluation as a table: for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from zsad.evaluate.evaluation import METRICS, Decisions, Evaluation, Figure

FEW = 20
"""Images of a label below which the table warns about the interval."""


def text_table(evaluation: Evaluation) -> str:
    """Return the table for a terminal, in percent, with what must be known to read it."""
    return "\n".join([*aligned(cells(evaluation)), *notes(evaluation)])


def markdown(evaluation: Evaluation) -> str:
    """Return the table and its notes as Markdown."""
    title = f"{evaluation.subject.get('name', '?')} on {evaluation.dataset}"
    return markdown_page(title, cells(evaluation), notes(evaluation))


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table for a terminal, a rule below its head."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table]
    return [lines[0].rstrip(), "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])]


def markdown_page(title: str, table: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """Return a titled table with its notes as Markdown."""
    head, *body = (f"| {' | '.join(row)} |" for row in table)
    rule = f"| {' | '.join('---' for _ in table[0])} |"
    return "\n".join([f"# {title}", "", head, rule, *body, "", *(f"- {n}" for n in notes), ""])


def cells(evaluation: Evaluation) -> list[list[str]]:
    """Return the table: a head, a row per class, the mean of several, the floor and the margin."""
    metrics = [k for k in METRICS if evaluation.mean.figures.get(k) is not None]
    several = len(evaluation.classes) > 1
    rows = [*evaluation.classes, evaluation.mean] if several else list(evaluation.classes)
    table = [["class", "good", "defective", *(METRICS[k] for k in metrics)]]
    for row in [*rows, evaluation.floor]:
        figures = [percent(row.figures.get(k)) for k in metrics]
        table.append([row.name, str(row.n_good), str(row.n_defective), *figures])
    margin = [percent(evaluation.margin.get(k), sign="+") for k in metrics]
    return [*table, ["over the floor", "", "", *margin]]


def notes(evaluation: Evaluation) -> list[str]:
    """Return what must be known to read the table."""
    floors = [
        f"{kind} [{name}]"
        for kind, name in (("image", evaluation.image_floor), ("pixel", evaluation.pixel_floor))
        if name is not None
    ]
    lines = [
        "percent, with 95 % bootstrap intervals over images "
        f"({evaluation.draws} resamples, seed {evaluation.seed})",
        f"floor: best plain statistics, chosen with the test labels: {', '.join(floors)}",
    ]
    if any(min(row.n_good, row.n_defective) < FEW for row in evaluation.classes):
        lines.append(
            f"a class with fewer than {FEW} good or defective images has too narrow an interval: "
            "a bootstrap cannot know what so few did not show"
        )
    if evaluation.map_hw is not None and evaluation.pixel_floor is not None:
        height, width = evaluation.map_hw
        lines.append(f"pixels compared at {height}x{width}, the size of the anomaly map")
    if without := _without_rcpro(evaluation):
        lines.append(
            f"no RCPRO, and no part in its mean: {', '.join(without)}; all maps are one constant"
        )
    if evaluation.lost_masks:
        lines.append(f"{evaluation.lost_masks} defects are too small to be seen at that size")
    if evaluation.empty_masks:
        lines.append(
            f"{evaluation.empty_masks} defective images have an empty mask: their pixels are normal"
        )
    if evaluation.n_excluded:
        lines.append(f"{evaluation.n_excluded} images left out by name")
    if evaluation.decisions is not None:
        lines.append(_decision_note(evaluation.decisions))
    return lines


def _without_rcpro(evaluation: Evaluation) -> list[str]:
    """Return the classes whose pixels were measured, but have no RCPRO."""
    if evaluation.schema < 2:
        return []
    return [
        row.name
        for row in evaluation.classes
        if row.figures.get("aupro") is not None and row.figures.get("rcpro") is None
    ]


def _decision_note(decisions: Decisions) -> str:
    return (
        f"at the recipe's threshold {decisions.threshold:.4f}: {decisions.good_rejected} of "
        f"{decisions.good} good images rejected, {decisions.defective_passed} of "
        f"{decisions.defective} defective images passed"
    )


def percent(figure: Figure | None, sign: str = "") -> str:
    """Return a figure with its interval in percent, a dash for none."""
    if figure is None:
        return "-"
    spec = f"{sign}.1f"
    low, high = 100 * figure.low, 100 * figure.high
    return f"{100 * figure.value:{spec}} [{low:{spec}}, {high:{spec}}]"
