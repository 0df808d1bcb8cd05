import json
from dataclasses import replace

import numpy as np
import pytest

from zsad.errors import InputError
from zsad.recipe import Bound, Calibration, Recipe, read_recipe, score_of, write_recipe
from zsad.types import Verdict

CALIBRATION = Calibration("g" * 64, "graph", 0.5, Bound(0.05, 0.95, 59), (0.1, 0.2))
RECIPE = Recipe(1, "p" * 64, (CALIBRATION, replace(CALIBRATION, graph_sha256="h" * 64)))


def test_a_recipe_comes_back_as_it_was_written(tmp_path):
    write_recipe(tmp_path / "part.json", RECIPE)
    assert read_recipe(tmp_path / "part.json") == RECIPE


@pytest.mark.parametrize(
    ("score", "verdict"),
    [
        (0.4999, Verdict.OK),
        (0.5, Verdict.OK),
        (0.5001, Verdict.NG),
        (float("nan"), Verdict.NO_RESULT),
        (float("inf"), Verdict.NO_RESULT),
    ],
)
def test_a_score_on_the_threshold_is_ok_and_no_number_is_no_result(score, verdict):
    assert CALIBRATION.verdict(score) is verdict


def test_only_the_exact_graph_and_preprocessing_have_a_calibration():
    assert RECIPE.calibration_for("h" * 64, "p" * 64).graph_sha256 == "h" * 64
    assert RECIPE.calibration_for("x" * 64, "p" * 64) is None
    assert RECIPE.calibration_for("g" * 64, "x" * 64) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2, this zsad reads up to 1"),
        ({"schema": None}, "is not a recipe"),
        ({"calibrations": []}, "holds no calibration"),
        ({"calibrations": "double"}, "two calibrations for one graph"),
        ({"roi": []}, "unknown key 'roi'"),
    ],
)
def test_what_is_no_sound_recipe_is_refused(tmp_path, change, message):
    path = tmp_path / "part.json"
    write_recipe(path, RECIPE)
    data = {**json.loads(path.read_text()), **change}
    if data["calibrations"] == "double":
        data["calibrations"] = [json.loads(path.read_text())["calibrations"][0]] * 2
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message):
        read_recipe(path)


def test_a_threshold_must_be_a_number():
    with pytest.raises(InputError, match="is not a number"):
        replace(CALIBRATION, threshold=float("nan"))


def test_kinds_of_score():
    anomaly_map = np.arange(400, dtype=np.float32).reshape(20, 20) / 400
    assert score_of("graph", 0.25, anomaly_map) == 0.25
    assert score_of("map_max", 0.25, anomaly_map) == pytest.approx(399 / 400)
    assert score_of("map_top1pct", 0.25, anomaly_map) == pytest.approx(
        (396 + 397 + 398 + 399) / 1600
    )


def test_the_top_percent_of_a_small_map_is_its_maximum():
    anomaly_map = np.array([[0.1, 0.7], [0.2, 0.3]], np.float32)
    assert score_of("map_top1pct", 0.0, anomaly_map) == pytest.approx(0.7)
