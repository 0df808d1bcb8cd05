"""The published figures: every one is in a committed JSON, whose evidence lies beside it."""

from pathlib import Path

import numpy as np
import pytest

from zsad.evaluate import read_evaluation
from zsad.evaluate.evidence import read_evidence
from zsad.metrics import auroc

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def cell(figure):
    low, high = 100 * figure.low, 100 * figure.high
    return f"{100 * figure.value:.1f} [{low:.1f}, {high:.1f}]"


@pytest.mark.parametrize("name", ["elpv-dive-tiny", "unseen-dive-tiny"])
def test_the_readme_prints_what_the_json_says(name):
    found = read_evaluation(RESULTS / f"{name}.json")
    readme = (ROOT / "README.md").read_text("utf-8")
    counts = f"({found.mean.n_good} + {found.mean.n_defective})"
    (row,) = [line for line in readme.splitlines() if counts in line]
    shown = [k for k in ("image_auroc", "pixel_auroc") if found.mean.figures.get(k) is not None]
    for key in shown:
        assert cell(found.mean.figures[key]) in row
        assert f"{100 * found.floor.figures[key].value:.1f}" in row


@pytest.mark.parametrize("name", ["elpv-dive-tiny", "unseen-dive-tiny"])
def test_image_figures_follow_from_the_scores_beside_the_json(name):
    path = RESULTS / f"{name}.json"
    found = read_evaluation(path)
    images = read_evidence(path, found).images
    values = []
    for row in found.classes:
        mine = [image for image in images if image.class_name == row.name]
        scores = np.array([image.score for image in mine])
        labels = np.array([image.label for image in mine], bool)
        values.append(auroc(scores, labels))
    assert np.mean(values) == pytest.approx(found.mean.figures["image_auroc"].value, abs=1e-12)
