"""Our figures beside the papers', as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from accuracy_runs import Outcome, name_of
from published import published
from zsad_train.methods import reading_note

METRICS = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "rcpro": "RCPRO",
}
NOT_RUN = "not run by us"
LEGEND = (
    "Percent, mean over classes. The floor is the best plain image statistics, chosen with the "
    "test labels. Our AUPRO is exact, over every score."
)


def paper_table(outcomes: Sequence[Outcome], paper: str, trained_on: str, method: str) -> str:
    """Return a row for every data set of a paper's table, and for every other one that we ran.

    A cell holds our figure, in percent, and the paper's after a stroke; `-` where there is none.
    The spread is that of the seeds; several draws of one set are averaged first.

    Args:
        outcomes: What was run.
        paper: Whose figures stand beside ours.
        trained_on: The auxiliary data set, as the paper's table names it.
        method: The method.
    """
    tables = published()
    ours = by_set(outcomes)
    names = dict.fromkeys([*tables.tested_on(paper, trained_on), *ours])
    metrics = _given(outcomes, [tables.figures(paper, trained_on, n, method) for n in names])
    lines = _head(["tested on", "images", *(METRICS[name] for name in metrics)])
    for name in names:
        theirs = tables.figures(paper, trained_on, name, method)
        runs = ours.get(name, [])
        cells = [_pair(runs, theirs, metric) for metric in metrics]
        lines.append(_row([name, _images(runs), *cells]))
        if runs:
            lines.append(_row([f"{name}: floor", "", *(_floor(runs, m) for m in metrics)]))
    lines += ["", LEGEND]
    if note := reading_note(method):
        lines.append(f"{note[0].upper()}{note[1:]}.")
    if tables.tested_on(paper, trained_on):
        source = tables.papers[paper]
        lines.append(f"After the stroke: {source.source}. {source.note}")
    return "\n".join(lines)


def by_set(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Return the outcomes by the name of the data set; a listed part counts as its set."""
    found: dict[str, list[Outcome]] = {}
    for each in outcomes:
        found.setdefault(set_name(each.data), []).append(each)
    return found


def set_name(spec: str) -> str:
    """Return the name of the data set that a spec opens, whatever the draw."""
    return name_of(spec).partition(":")[0]


def percent(values: Sequence[float]) -> str:
    """Return the mean of values in [0, 1] in percent, with the spread of several."""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{spread}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join([*_head(head), *map(_row, rows)])


def _given(outcomes: Sequence[Outcome], papers: Sequence[Mapping[str, float]]) -> list[str]:
    return [
        name
        for name in METRICS
        if any(name in row for row in papers) or any(name in each.figures for each in outcomes)
    ]


def _pair(runs: Sequence[Outcome], theirs: Mapping[str, float], metric: str) -> str:
    values = per_seed(runs, metric)
    ours = percent(values) if values else "-" if runs else NOT_RUN
    return f"{ours} / {theirs[metric]:.1f}" if metric in theirs else f"{ours} / -"


def per_seed(runs: Sequence[Outcome], metric: str) -> list[float]:
    """Return a metric of every seed that has it, in [0, 1], several draws of one set averaged."""
    seeds: dict[int, list[float]] = {}
    for run in runs:
        if metric in run.figures:
            seeds.setdefault(run.seed, []).append(run.figures[metric])
    return [mean(values) for values in seeds.values()]


def _floor(runs: Sequence[Outcome], metric: str) -> str:
    values = [run.floor[metric] for run in runs if metric in run.floor]
    return f"{100 * mean(values):.1f}" if values else ""


def _images(runs: Sequence[Outcome]) -> str:
    return f"{runs[0].n_good} + {runs[0].n_defective}" if runs else ""


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), _row(["---"] * len(cells))]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
