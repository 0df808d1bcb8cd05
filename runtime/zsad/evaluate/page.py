"""The report of an evaluation: one HTML file that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from zsad.data.types import GOOD
from zsad.evaluate.cases import Case
from zsad.evaluate.charts import curves_svg
from zsad.evaluate.evaluation import METRICS, Evaluation, Figure
from zsad.evaluate.evidence import Evidence
from zsad.evaluate.protocol import Examination
from zsad.evaluate.tables import cells, notes, percent
from zsad.metrics import Curve, roc_curve
from zsad.metrics.pixel_counts import counts_pro_curve, total_of
from zsad.report import html
from zsad.report.histogram import histogram_svg

PRO_LIMIT = 0.3
"""The false positive rate that AUPRO ends at."""
_SUM = ' class="sum"'
MOST_CLASSES = 24
"""Classes with a histogram of their own."""


def render_page(examination: Examination) -> str:
    """Return the report as HTML; every name from outside is escaped."""
    evaluation, evidence = examination.evaluation, examination.evidence
    name = str(evaluation.subject.get("name", "?"))
    return html.page(
        "zsad.evaluate",
        title=escape(f"{name}, {evaluation.dataset}"),
        subtitle=escape(_subtitle(evaluation)),
        tiles=_tiles(evaluation),
        figures=_figures(evaluation),
        notes="".join(f"<li>{escape(line)}</li>" for line in notes(evaluation)),
        curves=_curves(evidence),
        histograms=_histograms(evaluation, evidence),
        cases=_cases(examination),
        identity=_identity(evaluation),
    )


def _subtitle(evaluation: Evaluation) -> str:
    mean = evaluation.mean
    classes = len(evaluation.classes)
    return (
        f"{mean.n_good} good and {mean.n_defective} defective images"
        f" in {classes} {'class' if classes == 1 else 'classes'}"
    )


def _tiles(evaluation: Evaluation) -> str:
    tiles = []
    for key in ("image_auroc", "pixel_auroc", "aupro", "rcpro"):
        figure = evaluation.mean.figures.get(key)
        if figure is not None:
            tiles.append(
                f'<div class="tile"><b>{100 * figure.value:.1f}</b>{METRICS[key]}'
                f'<br><span class="soft">{_against_floor(evaluation.margin.get(key))}</span></div>'
            )
    return "".join(tiles)


def _against_floor(margin: Figure | None) -> str:
    return "no floor" if margin is None else f"{percent(margin, sign='+')} over the floor"


def _figures(evaluation: Evaluation) -> str:
    head, *rows = cells(evaluation)
    body = "".join(
        f"<tr{_SUM if row[0] == 'mean' else ''}><td>{escape(row[0])}</td>"
        f"{''.join(map(_cell, row[1:]))}</tr>"
        for row in rows
    )
    titles = "".join(f'<th class="number">{title}</th>' for title in head[1:])
    return f"<table><tr><th>{head[0]}</th>{titles}</tr>{body}</table>"


def _cell(text: str) -> str:
    value, bracket, interval = text.partition(" [")
    if not bracket:
        return f'<td class="number">{escape(text)}</td>'
    return f'<td class="number">{value}<small>[{interval}</small></td>'


def _curves(evidence: Evidence) -> str:
    panels = []
    if roc := _roc_curves(evidence):
        svg = curves_svg(roc, "false positive rate", "true positive rate")
        panels.append(f'<div class="panel"><h2>ROC of images</h2>{svg}</div>')
    if evidence.maps:
        pro = {
            name: Curve(*counts_pro_curve(total_of(counts.pixels)))
            for name, counts in evidence.maps.items()
        }
        svg = curves_svg(pro, "false positive rate of pixels", "per-region overlap", PRO_LIMIT)
        panels.append(f'<div class="panel"><h2>PRO of pixels</h2>{svg}</div>')
    return "".join(panels)


def _roc_curves(evidence: Evidence) -> dict[str, Curve]:
    curves = {}
    for name, (good, defective) in _scores_by_class(evidence).items():
        if good and defective:
            labels = [0] * len(good) + [1] * len(defective)
            curves[name] = roc_curve([*good, *defective], labels)
    return curves


def _scores_by_class(evidence: Evidence) -> dict[str, tuple[list[float], list[float]]]:
    found: dict[str, tuple[list[float], list[float]]] = {}
    for image in evidence.images:
        found.setdefault(image.class_name, ([], []))[image.label].append(image.score)
    return found


def _histograms(evaluation: Evaluation, evidence: Evidence) -> str:
    decisions = evaluation.decisions
    threshold = None if decisions is None else decisions.threshold
    by_class = _scores_by_class(evidence)
    good, defective = ([s for pair in by_class.values() for s in pair[side]] for side in (0, 1))
    key = (
        '<div class="key"><span class="good"><i></i>good</span>'
        '<span class="defective"><i></i>defective</span></div>'
    )
    main = f'<div class="panel">{_histogram(good, defective, threshold)}{key}</div>'
    if len(by_class) == 1:
        return main
    each = "".join(
        f'<div class="panel"><h2>{escape(name)}</h2>{_histogram(*pair, threshold)}</div>'
        for name, pair in list(by_class.items())[:MOST_CLASSES]
    )
    more = len(by_class) - MOST_CLASSES
    rest = html.note(f"{more} more classes are in the scores file.") if more > 0 else ""
    return (
        f"{main}<details><summary>Class by class</summary>"
        f'<div class="columns">{each}</div>{rest}</details>'
    )


def _histogram(good: Sequence[float], defective: Sequence[float], threshold: float | None) -> str:
    return histogram_svg({"good": good, "defective": defective}, threshold)


def _cases(examination: Examination) -> str:
    cases = examination.cases
    text = (
        "Left the image, the labelled defect outlined where there is a mask; right the heat map."
        " Its colours mean the same in every picture."
    )
    sections = [
        _section("False alarms: the good images with the highest scores", cases.false_alarms),
        _section("Misses: the defective images with the lowest scores", cases.misses),
        _section("Hits: the defective images with the highest scores", cases.hits),
    ]
    return f"{html.note(text)}{html.legend('0.5')}{''.join(sections)}"


def _section(title: str, cases: Sequence[Case]) -> str:
    if not cases:
        return ""
    return f'<h2>{title}</h2><div class="cards">{"".join(map(_card, cases))}</div>'


def _card(case: Case) -> str:
    name, kind = escape(case.name), "good" if case.defect_type == GOOD else "defective"
    return (
        f'<div class="card {kind}"><div class="pair">'
        f'<img alt="{name}" src="{html.data_uri(case.frame_jpeg)}">'
        f'<img alt="heat map of {name}" src="{html.data_uri(case.heat_jpeg)}"></div>'
        f'<div class="caption"><span class="name" title="{name}">{escape(case.class_name)}'
        f"<small>{name}</small></span>"
        f'<span class="number">{html.number(case.score)}</span>'
        f'<span class="verdict">{escape(case.defect_type)}</span></div></div>'
    )


def _identity(evaluation: Evaluation) -> str:
    facts: Mapping[str, object] = {
        **evaluation.subject,
        "data set": evaluation.dataset,
        "made by": ", ".join(f"{k} {v}" for k, v in evaluation.made_by.items()),
    }
    return html.facts(
        {
            escape(str(key).replace("_", " ")): f"<code>{escape(str(value))}</code>"
            for key, value in facts.items()
        }
    )
