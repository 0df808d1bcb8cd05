import json
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

import ablation
from zsad_train.tiny import recipes
from zsad_train.tiny.config import TinyConfig
from zsad_train.tiny.recipes import Recipe

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
CARD = ROOT / "train" / "zsad_train" / "tiny" / "MODEL_CARD.md"
SMALL = Recipe(
    config=TinyConfig(64, 32, 1, 16, 16, 32, 1), sentences=False, batch=4, images=(("train", 16),)
)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(recipes, "STAGES", (SMALL,))
    monkeypatch.setattr("zsad_train.tiny.train._GENERATED_PX", 64)
    monkeypatch.setattr("zsad_train.tiny.train._VAL_IMAGES", 8)


def test_every_variant_changes_what_the_recipe_has():
    names = {field.name for field in fields(Recipe)}
    default = Recipe()
    for changes in list(ablation.VARIANTS.values())[1:]:
        assert changes and set(changes) <= names
        assert all(getattr(default, name) != value for name, value in changes.items())


def test_the_table_has_a_row_for_each_run():
    runs = [{"variant": "a", "image_auroc": 0.7, "pixel_auroc": 0.9, "seconds": 12}]
    assert ablation.table(runs).splitlines()[-1] == "| a | 70.0 | 90.0 |"


def test_short_runs_are_measured_on_val(small, tmp_path):
    names = ["the recipe", "without overlays, warps and degradation"]
    only = [word for name in names for word in ("--only", name)]
    path = tmp_path / "ablation.json"
    words = ["--steps", "2", "--share", "0.5", "--cache", str(tmp_path / "cache"), *only]
    result = CliRunner().invoke(ablation.main, [*words, "--json", str(path)])
    assert result.exit_code == 0, result.output
    runs = json.loads(path.read_text())["runs"]
    assert [run["variant"] for run in runs] == names
    assert all(0 <= run["pixel_auroc"] <= 1 for run in runs)
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == ["train-8-0-64", "val-8-1-64"]


def test_an_interrupted_ablation_goes_on_where_it_was(monkeypatch, tmp_path):
    measured = []

    def fake(changes, steps, share, cache):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(changes)
        return {"image_auroc": 0.7, "pixel_auroc": 0.9, "seconds": 12}

    monkeypatch.setattr(ablation, "measure", fake)
    path = tmp_path / "ablation.json"
    words = ["--cache", str(tmp_path), "--json", str(path)]
    assert CliRunner().invoke(ablation.main, words).exit_code == 130
    names = list(ablation.VARIANTS)
    assert [run["variant"] for run in json.loads(path.read_text())["runs"]] == names[:2]
    measured.clear()
    assert CliRunner().invoke(ablation.main, words).exit_code == 130
    assert measured == list(ablation.VARIANTS.values())[2:4]
    other = CliRunner().invoke(ablation.main, [*words, "--steps", "7"])
    assert other.exit_code == 2 and "is no ablation of 7 steps" in other.output


def test_a_variant_that_does_not_exist_is_named(tmp_path):
    result = CliRunner().invoke(ablation.main, ["--cache", str(tmp_path), "--only", "nothing"])
    assert result.exit_code == 2 and "unknown variant 'nothing'" in result.output


def test_the_model_card_prints_the_published_run():
    runs = json.loads((RESULTS / "ablation-tiny.json").read_text("utf-8"))["runs"]
    assert [run["variant"] for run in runs] == list(ablation.VARIANTS)
    assert ablation.table(runs) in CARD.read_text("utf-8")
