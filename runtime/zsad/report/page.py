"""The page that a run leaves for people: what was judged, by what, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from zsad.report import html
from zsad.report.details import (
    RunRecord,
    decision_facts,
    identity_facts,
    latency_table,
    parity_table,
)
from zsad.report.gallery import Card
from zsad.report.histogram import histogram_svg
from zsad.results import ResultRow
from zsad.schema import write_atomic
from zsad.summary import RunSummary
from zsad.types import Verdict

MAX_ROWS = 1000
"""Rows in the table of all rows; beyond them the report points to `results.jsonl`."""


def write_report(
    path: Path, record: RunRecord, rows: Sequence[ResultRow], cards: Sequence[Card]
) -> None:
    """Write the report, whole or not at all.

    Raises:
        InputError: The file cannot be written.
    """
    write_atomic(path, render_report(record, rows, cards).encode())


def render_report(record: RunRecord, rows: Sequence[ResultRow], cards: Sequence[Card]) -> str:
    """Return the report as HTML; every name from outside is escaped.

    Args:
        record: The run.
        rows: All rows of its results.
        cards: The frames to show, in the order to show them.
    """
    name = record.artifact.path.resolve().name
    return html.page(
        "zsad.report",
        title=escape(f"Anomaly report: {_short(record.source)}"),
        subtitle=escape(_subtitle(record, name)),
        advice=_advice(record),
        tiles=_tiles(record.summary),
        histogram=_histogram(record, rows),
        pictures=_pictures(cards, record, rows),
        failures=_failures(rows),
        identity=identity_facts(record, name),
        decision=decision_facts(record),
        latency=latency_table(record.summary),
        parity=parity_table(record),
        row_count=str(len(rows)),
        rows=_all_rows(rows),
    )


def _short(source: str) -> str:
    return source if "://" in source else Path(source).resolve().name


def _subtitle(record: RunRecord, name: str) -> str:
    summary = record.summary
    counts = f"{summary.captured} captured = {summary.judged} judged + {summary.dropped} dropped"
    return (
        f"{record.artifact.manifest.method.name} artifact {name}, {record.precision} on"
        f" {record.provider} · {counts} in {summary.seconds:.1f} s ·"
        f" {record.started:%Y-%m-%d %H:%M} {record.started.tzname()}"
    )


def _advice(record: RunRecord) -> str:
    if not record.summary.verdicts[Verdict.UNCALIBRATED.value]:
        return ""
    return html.note(
        "These scores have no threshold yet, so there is no OK or NG. Make one from good parts:"
        " <code>zsad-calibrate ARTIFACT --good DIR --recipe part.json</code>, then run again with"
        " <code>--recipe part.json</code>."
    )


def _tiles(summary: RunSummary) -> str:
    shown = [v.value for v in Verdict if summary.verdicts[v.value]]
    return "".join(
        f'<div class="tile {name}"><b>{summary.verdicts[name]}</b>{name.replace("_", " ")}</div>'
        for name in shown
    )


def _histogram(record: RunRecord, rows: Sequence[ResultRow]) -> str:
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row.score is not None:
            groups.setdefault(row.verdict, []).append(row.score)
    threshold = None if record.calibration is None else record.calibration.threshold
    return histogram_svg(groups, threshold)


def _pictures(cards: Sequence[Card], record: RunRecord, rows: Sequence[ResultRow]) -> str:
    if not cards:
        return ""
    count = max(len(cards), sum(row.score is not None for row in rows))
    which = "" if len(cards) == count else ": the highest scores and a random sample of the rest"
    text = (
        "Left the frame, right its heat map, sorted by score. The colours mean the same in every"
        " picture; they are not stretched to each image's own maximum."
    )
    return (
        f"<h2>{len(cards)} of {count} frames{which}</h2>{html.note(text)}{_legend(record)}"
        f'<div class="cards">{"".join(map(_card, cards))}</div>'
    )


def _legend(record: RunRecord) -> str:
    level = record.calibration.map_level if record.calibration is not None else None
    return html.legend("0.5" if level is None else f"{level:.3g}")


def _card(card: Card) -> str:
    name, score = escape(card.row.image), html.number(card.row.score)
    return (
        f'<div class="card {card.row.verdict}"><div class="pair">'
        f'<img alt="frame {name}" src="{html.data_uri(card.frame_jpeg)}">'
        f'<img alt="heat map of {name}" src="{html.data_uri(card.heat_jpeg)}"></div>'
        f'<div class="caption"><span class="name" title="{name}">{name}</span>'
        f'<span class="number">{score}</span>{html.verdict(card.row)}</div></div>'
    )


def _failures(rows: Sequence[ResultRow]) -> str:
    failed = [row for row in rows if row.verdict == "NO_RESULT"]
    if not failed:
        return ""
    lines = [(escape(row.image), escape(row.reason or "")) for row in failed[:MAX_ROWS]]
    return (
        f"<h2>{len(failed)} without a result</h2>"
        f'<div class="panel">{html.table(("image", "reason"), lines)}{_more(len(failed))}</div>'
    )


def _all_rows(rows: Sequence[ResultRow]) -> str:
    ranked = sorted(rows, key=lambda row: (row.score is None, -(row.score or 0.0), row.seq))
    lines = []
    for row in ranked[:MAX_ROWS]:
        name = escape(row.image)
        link = f'<a href="{escape(row.map)}">{name}</a>' if row.map else name
        total = row.latency_ms.get("total")
        lines.append(
            (
                str(row.seq),
                link,
                html.number(row.score),
                html.verdict(row),
                html.number(total, digits=1),
            )
        )
    return html.table(("seq", "image", "score", "verdict", "total ms"), lines) + _more(len(rows))


def _more(count: int) -> str:
    if count <= MAX_ROWS:
        return ""
    return html.note(f"{count - MAX_ROWS} more are in results.jsonl.")
