"""The sections of the report that say what judged: identity, decision, latency, parity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape

from zsad.artifact import Artifact
from zsad.inspection.config import Inspection
from zsad.manifest import Precision
from zsad.recipe import Calibration
from zsad.report import html
from zsad.scores import ScoreKind
from zsad.summary import RunSummary

_SCORE_KINDS: Mapping[ScoreKind, str] = {
    "graph": "the method's own image score",
    "map_max": "the maximum of the anomaly map",
    "map_top1pct": "the mean of the highest 1 % of the anomaly map",
}


@dataclass(frozen=True)
class RunRecord:
    """What a report says of a run beside its rows.

    Attributes:
        artifact: The artifact that judged.
        precision: The precision of the graph that ran.
        provider: What ran it.
        score_kind: The kind of score that was compared.
        calibration: The calibration that was used, None when uncalibrated.
        inspection: The region and tiles.
        source: The source's name, credentials masked.
        started: When the run began, with time zone.
        summary: The counts of the run.
    """

    artifact: Artifact
    precision: Precision
    provider: str
    score_kind: ScoreKind
    calibration: Calibration | None
    inspection: Inspection
    source: str
    started: datetime
    summary: RunSummary


def identity_facts(record: RunRecord, name: str) -> str:
    """Return which artifact, called `name`, judged, and on what."""
    manifest = record.artifact.manifest
    graph = manifest.graphs[record.precision]
    spec = manifest.preprocess
    backbone = f"{manifest.backbone.name}, weights {manifest.backbone.pretrained}"
    return html.facts(
        {
            "Artifact": f"{escape(name)}<br><code>{record.artifact.sha256}</code>",
            "Graph": f"{escape(graph.file)}, opset {graph.opset}<br><code>{graph.sha256}</code>",
            "Method": escape(manifest.method.name),
            "Backbone": escape(backbone),
            "Input": f"{spec.height} x {spec.width} px, {escape(spec.resize)}",
            "Ran on": escape(record.provider),
            "Made by": escape(", ".join(f"{k} {v}" for k, v in manifest.made_by.items())),
        }
    )


def decision_facts(record: RunRecord) -> str:
    """Return what was compared with which threshold, and what that promises."""
    facts = {"Judged": _extent(record.inspection), "Score": _SCORE_KINDS[record.score_kind]}
    calibration = record.calibration
    if calibration is None:
        facts["Threshold"] = "none: no calibration for this graph"
    else:
        bound = calibration.bound
        facts["Rule"] = f"NG where {escape(calibration.rule)}"
        facts["Threshold"] = f"{calibration.threshold:.6f}"
        for each in calibration.types:
            facts[f"Threshold of {escape(each.name)}"] = f"{each.threshold:.6f}"
        facts["Bound"] = (
            f"at most {bound.max_false_reject:.2%} of good parts rejected, with"
            f" {bound.confidence:.0%} confidence, from {bound.n_unique} good frames. It says"
            " nothing about missed defects."
        )
    return html.facts(facts)


def _extent(inspection: Inspection) -> str:
    roi, tiles = inspection.roi, inspection.tiles
    text = "the whole frame"
    if roi is not None:
        inside = f"{len(roi.include)} polygons" if roi.include else "the frame"
        text = f"{inside} but for {len(roi.ignore)} ignored polygons"
    if tiles is not None:
        size = f"{tiles.height_px} x {tiles.width_px}"
        text += f", in tiles of {size} px that overlap by {tiles.overlap_px} px"
    return text


def latency_table(summary: RunSummary) -> str:
    """Return percentiles of every stage."""
    lines = [
        (stage, *(f"{value:.1f}" for value in values))
        for stage, values in summary.percentiles_ms(50, 95, 99, 100).items()
    ]
    if not lines:
        return html.note("No frame was judged.")
    return html.table(("stage", "p50 ms", "p95 ms", "p99 ms", "max ms"), lines, numbers=True)


def parity_table(record: RunRecord) -> str:
    """Return how far each graph was from PyTorch at its export."""
    lines = [
        (
            escape(name),
            f"{parity.score_max_abs:.2g}",
            f"{parity.map_max_abs:.2g}",
            "-" if parity.map_correlation is None else f"{parity.map_correlation:.6f}",
            str(parity.frames),
            escape(f"{parity.backend}; {parity.evidence}"),
        )
        for name, parity in record.artifact.manifest.parity.items()
    ]
    if not lines:
        return html.note("The manifest holds no parity record.")
    head = ("graph", "score max abs", "map max abs", "map correlation", "frames", "measured on")
    return html.table(head, lines)
