import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import coverage_of_intervals as benchmark
from zsad.metrics import auroc, average_precision, f1_max


def test_the_true_figures_are_those_of_very_many_images():
    labels = np.arange(300_000) < 100_000
    scores = np.random.default_rng(0).normal(size=labels.size) + 1.2 * labels
    truth = benchmark.true_image_figures(1.2, 20, 10)
    assert truth["image_auroc"] == pytest.approx(auroc(scores, labels), abs=3e-3)
    assert truth["image_ap"] == pytest.approx(average_precision(scores, labels), abs=4e-3)
    assert truth["image_f1_max"] == pytest.approx(f1_max(scores, labels).f1, abs=3e-3)


def test_maps_have_defects_in_one_half_and_they_score_higher():
    maps, masks = benchmark.make_maps(np.random.default_rng(0), 20)
    assert masks.any(axis=(1, 2)).tolist() == [True] * 20 + [False] * 20
    assert maps[masks].mean() > maps[~masks].mean() + 0.5


def test_the_command_prints_every_size_and_writes_what_it_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "IMAGE_SETS", ((1, 10, 10), (2, 8, 9)))
    monkeypatch.setattr(benchmark, "MAP_SETS", (10,))
    monkeypatch.setattr(benchmark, "TRUE_MAPS", 40)
    out = tmp_path / "coverage.json"
    words = ("--sets", "3", "--draws", "20", "--json", str(out))
    done = CliRunner().invoke(benchmark.main, words)
    assert done.exit_code == 0, done.output
    record = json.loads(out.read_text())
    assert (record["sets"], len(record["rows"])) == (3, 3)
    held = [row[name] for row in record["rows"] for name in row if "_" in name]
    assert len(held) == 3 + 3 + 3 and all(0 <= share <= 1 for share in held)
    lines = done.output.splitlines()
    assert lines[2].startswith("| 10 + 10 | ") and lines[2].count("|") == 10
    assert lines[3].startswith("| mean of 2 classes of 8 + 9 | ")


def test_the_page_prints_what_the_json_says():
    root = Path(__file__).parents[2]
    record = json.loads((root / "benchmarks/results/coverage.json").read_text("utf-8"))
    assert benchmark.table(record["rows"]) in (root / "docs/evaluate.md").read_text("utf-8")
    assert f"{record['sets']} sets each" in (root / "docs/evaluate.md").read_text("utf-8")
