"""What `parity.py` found, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from parity_report import Report, Row
from parity_verdicts import Verdicts
from zsad.evaluate.evaluation import METRICS
from zsad.evaluate.tables import aligned
from zsad.parity_record import DataParity


def text(report: Report) -> str:
    """Return the report as tables for a terminal."""
    subject = report.subject
    lines = [f"{subject['artifact']}: {subject['method']} on {subject['backbone']}", ""]
    lines += [f"golden frames against PyTorch at export ({report.rows[0].parity.frames})"]
    lines += aligned(_golden_cells(report.rows))
    for row in report.rows:
        if row.parity.data is not None:
            lines += ["", *_data_lines(row.name, row.parity.data, report.reference)]
    for row in report.rows:
        if row.verdicts is not None:
            lines += ["", _verdict_line(row.name, row.verdicts)]
    return "\n".join(lines)


def _golden_cells(rows: Sequence[Row]) -> list[list[str]]:
    head = ["graph", "score max", "mean", "map max", "mean", "map corr.", "tau", "flips", "limits"]
    return [head, *(_golden_row(row) for row in rows)]


def _golden_row(row: Row) -> list[str]:
    found = row.parity
    errors = (found.score_max_abs, found.score_mean_abs, found.map_max_abs, found.map_mean_abs)
    return [
        row.name,
        *("-" if error is None else f"{error:.1e}" for error in errors),
        _or_dash(found.map_correlation, ".5f"),
        _or_dash(found.kendall_tau, ".3f"),
        _or_dash(found.most_flips, "d"),
        "within" if row.is_within_limits else f"OVER on {found.worst_frame}",
    ]


def _data_lines(name: str, found: DataParity, reference: str) -> list[str]:
    images = found.n_good + found.n_defective
    budget = f"{100 * found.auroc_budget:g} points of AUROC"
    lines = [
        f"{name} against {reference} on {found.dataset}, {images} images",
        f"score max {found.score_max_abs:.1e}, mean {found.score_mean_abs:.1e}; map max "
        f"{found.map_max_abs:.1e}, mean {found.map_mean_abs:.1e}, correlation at least "
        f"{_or_dash(found.map_correlation, '.5f')}; worst on {found.worst_image}",
        f"rank agreement (Kendall's tau-b) {_or_dash(found.kendall_tau, '.5f')}; at the threshold "
        f"where most verdicts differ, {found.most_flips} of {images} do",
        *aligned([["points", "difference", "95 % paired"], *_delta_cells(found)]),
    ]
    said = {
        "within": f"within the budget of {budget}",
        "over": f"OVER the budget of {budget}",
        "not shown": f"not shown to be within the budget of {budget}: too few images to tell",
    }
    return [*lines, said[found.verdict]]


def _delta_cells(found: DataParity) -> list[list[str]]:
    return [
        [
            METRICS[name],
            f"{100 * delta.value:+.3f}",
            f"[{100 * delta.low:+.3f}, {100 * delta.high:+.3f}]",
        ]
        for name, delta in found.deltas.items()
    ]


def _verdict_line(name: str, found: Verdicts) -> str:
    return (
        f"{name} at the recipe's threshold {found.threshold:.4g}: {found.flips} of {found.frames} "
        f"verdicts differ, so with 95 % confidence at most {100 * found.bound:.2g} % of all do"
    )


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
