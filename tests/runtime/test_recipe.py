import json
from dataclasses import replace

import numpy as np
import pytest

from zsad.errors import InputError
from zsad.inspection.config import DebounceConfig, Inspection, Roi, Tiles
from zsad.recipe import (
    Bound,
    Calibration,
    CurvePoint,
    Recipe,
    TypeThreshold,
    read_recipe,
    write_recipe,
)
from zsad.scores import score_of
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
        ({"schema": 3}, "schema 3, this zsad reads up to 2"),
        ({"schema": None}, "is not a recipe"),
        ({"calibrations": []}, "holds no calibration"),
        ({"calibrations": "double"}, "two calibrations for one graph"),
        ({"region": []}, "unknown key 'region'"),
        ({"roi": []}, "roi: expected dict, found list"),
        ({"roi": {"ignore": [[[0, 0], [1, 0], [0, 1]]]}}, "need the key 'frame_hw'"),
        ({"roi": {}}, "it has no polygon"),
        ({"tiles": {"height_px": 8, "width_px": 8, "overlap_px": 5}}, "use 0 to 4"),
        ({"debounce": {"ng_frames": 3, "of_frames": 2}}, "3 of 2 frames is no rule"),
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


def test_a_recipe_with_everything_comes_back_as_it_was_written(tmp_path):
    triangle = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    region = {"roi": Roi((triangle,)), "tiles": Tiles(64, 64, 16), "frame_hw": (300, 400)}
    typed = replace(
        CALIBRATION,
        score_kind="map_max",
        types=(TypeThreshold("rust", 0.3),),
        inspection_sha256=Inspection(**region).sha256,
        curve=(CurvePoint(0.5, 0.02, 0.05),),
    )
    recipe = replace(RECIPE, calibrations=(typed,), debounce=DebounceConfig(0.1, 2, 3), **region)
    write_recipe(tmp_path / "part.json", recipe)
    assert read_recipe(tmp_path / "part.json") == recipe


def test_a_region_that_was_changed_after_calibration_leaves_none():
    region = {"roi": Roi(ignore=(((0, 0), (1, 0), (0, 1)),)), "frame_hw": (300, 400)}
    made_with = Inspection(**region).sha256
    bound = replace(CALIBRATION, score_kind="map_max", inspection_sha256=made_with)
    recipe = replace(RECIPE, calibrations=(bound,), **region)
    key = ("g" * 64, "p" * 64)
    assert recipe.calibration_for(*key) is bound
    assert replace(recipe, tiles=Tiles(64, 64, 0)).calibration_for(*key) is None
    assert replace(recipe, frame_hw=(301, 400)).calibration_for(*key) is None
    assert replace(recipe, roi=None).calibration_for(*key) is None


def test_whole_numbers_and_fractions_are_one_region():
    whole = Roi((((0, 0), (1, 0), (0, 1)),))
    fractions = Roi((((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)),))
    assert Inspection(whole).sha256 == Inspection(fractions).sha256


def test_the_graphs_own_score_knows_no_region():
    with pytest.raises(InputError, match="knows no region and no tiles"):
        replace(CALIBRATION, inspection_sha256="i" * 64)


def test_a_type_above_its_own_threshold_is_enough():
    typed = replace(CALIBRATION, types=(TypeThreshold("rust", 0.3), TypeThreshold("dent", 0.8)))
    assert typed.verdict(0.5, (0.3, 0.8)) is Verdict.OK
    assert typed.verdict(0.51, (0.0, 0.0)) is Verdict.NG
    assert typed.verdict(0.1, (0.31, 0.0)) is Verdict.NG
    assert typed.verdict(0.1, (float("nan"), 0.0)) is Verdict.NO_RESULT
    assert typed.verdict(0.1, (0.28, 0.0), lowered=0.1) is Verdict.NG  # 0.28 > 0.3 * 0.9
    assert typed.verdict(0.46, (0.0, 0.0), lowered=0.1) is Verdict.NG
    assert CALIBRATION.verdict(0.1, (0.9, 0.9)) is Verdict.OK  # no thresholds of types


def test_the_p_value_counts_good_parts_that_score_as_high():
    calibration = replace(CALIBRATION, good_scores=(0.1, 0.2, 0.2, 0.4))
    found = [calibration.p_value(score) for score in (0.05, 0.2, 0.3, 0.5)]
    assert found == [1.0, 4 / 5, 2 / 5, 1 / 5]


def test_kinds_of_score():
    anomaly_map = np.arange(400, dtype=np.float32).reshape(20, 20) / 400
    assert score_of("graph", 0.25, anomaly_map) == 0.25
    assert score_of("map_max", 0.25, anomaly_map) == pytest.approx(399 / 400)
    assert score_of("map_top1pct", 0.25, anomaly_map) == pytest.approx(
        (396 + 397 + 398 + 399) / 1600
    )


def test_a_region_leaves_what_is_outside_uncounted():
    anomaly_map = np.arange(400, dtype=np.float32).reshape(20, 20) / 400
    left = np.zeros((20, 20), bool)
    left[:, :10] = True  # 200 pixels, of which the highest two are 388 and 389
    assert score_of("map_max", 0.0, anomaly_map, left) == pytest.approx(389 / 400)
    assert score_of("map_top1pct", 0.0, anomaly_map, left) == pytest.approx(388.5 / 400)


def test_the_top_percent_of_a_small_map_is_its_maximum():
    anomaly_map = np.array([[0.1, 0.7], [0.2, 0.3]], np.float32)
    assert score_of("map_top1pct", 0.0, anomaly_map) == pytest.approx(0.7)
