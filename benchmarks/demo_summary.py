"""The last words of the demo: the figures that matter, each from the file it was written to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from zsad.artifact import Artifact
from zsad.evaluate import Evaluation, read_evaluation
from zsad.evaluate.evaluation import METRICS, Figure

FIGURES = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap")


def summary(out: Path, seconds: Mapping[str, float]) -> str:
    """Put the report at the top of `out` and return what the demo found.

    Args:
        out: Folder in which the steps have run.
        seconds: What each of them took.
    """
    shutil.copyfile(out / "run" / "report.html", out / "report.html")
    evaluations = (read_evaluation(out / name) for name in ("accuracy.json", "unseen.json"))
    lines = ["What the demo found:"]
    for evaluation in evaluations:
        lines += ["", *accuracy_lines(evaluation)]
    lines += ["", *parity_lines(out / "dive"), "", *latency_lines(out / "latency.json")]
    spent = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items() if value)
    lines += ["", f"{sum(seconds.values()):.0f} s: {spent or 'nothing had to be done again'}"]
    return "\n".join([*lines, f"pictures: {out / 'report.html'}"])


def accuracy_lines(evaluation: Evaluation) -> list[str]:
    """Return each figure beside its floor."""
    mean = evaluation.mean
    head = f"{evaluation.dataset}: {mean.n_good} good and {mean.n_defective} defective images"
    if evaluation.n_excluded:
        head += f", {evaluation.n_excluded} used for calibration left out"
    lines = [head]
    for key in FIGURES:
        figure, floor = mean.figures.get(key), evaluation.floor.figures.get(key)
        if figure is not None and floor is not None:
            lines.append(f"  {METRICS[key]:<12} {_percent(figure)}, floor {_percent(floor)}")
    decisions = evaluation.decisions
    if decisions is not None:
        lines.append(
            f"  verdicts: {decisions.good_rejected} of {decisions.good} good rejected, "
            f"{decisions.defective - decisions.defective_passed} of {decisions.defective} "
            "defective found"
        )
    return lines


def parity_lines(artifact: Path) -> list[str]:
    """Return how far each graph is from PyTorch, as the export measured it."""
    manifest = Artifact.open(artifact).manifest
    return [
        f"parity of {precision}: score off by {record.score_max_abs:.1e}, map by "
        f"{record.map_max_abs:.1e} at most, {record.frames} frames ({record.evidence})"
        for precision, record in manifest.parity.items()
    ]


def latency_lines(path: Path) -> list[str]:
    """Return medians and how much faster than PyTorch each graph is."""
    report = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        f"{row['name']}: {row['total_ms']['p50']:.1f} ms a frame (p95 {row['total_ms']['p95']:.1f})"
        for row in report["latencies"]
    ]
    return lines + [
        f"{graph} is {ratio['total']:.2f} times as fast as {eager}"
        for eager, graphs in report["times_faster"].items()
        for graph, ratio in graphs.items()
    ]


def _percent(figure: Figure) -> str:
    return f"{100 * figure.value:.1f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
