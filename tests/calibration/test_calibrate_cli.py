import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zsad import Detector, Verdict
from zsad.artifact import Artifact
from zsad.recipe import read_recipe
from zsad_calibration.cli import main

LEVELS = (50, 60, 70, 80, 90)


@pytest.fixture
def good(tmp_path):
    folder = tmp_path / "good"
    folder.mkdir()
    for level in LEVELS:
        cv2.imwrite(str(folder / f"p{level}.png"), frame(level))
    return folder


def frame(level, hot=None):
    pixels = np.full((8, 12, 3), level, np.uint8)
    if hot is not None:
        pixels[0, 0] = hot
    return pixels


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def calibrated(artifact, good, tmp_path, *options):
    recipe = tmp_path / "part.json"
    result = run(artifact, "--good", good, "--recipe", recipe, *options)
    assert result.exit_code == 0, result.output
    return recipe, result.output


def test_the_threshold_is_the_highest_good_score(make_artifact, good, tmp_path):
    # The known graph's score is the mean grey level / 255.
    artifact = make_artifact()
    path, output = calibrated(artifact, good, tmp_path)
    (calibration,) = read_recipe(path).calibrations
    assert calibration.threshold == pytest.approx(90 / 255)
    assert calibration.good_scores == pytest.approx([level / 255 for level in LEVELS])
    assert calibration.bound.n_unique == 5
    assert calibration.bound.max_false_reject == pytest.approx(1 - 0.05**0.2)
    assert "5 distinct frames support at most 45.1 % false rejects" in output
    assert "1 % takes 299" in output


def test_a_detector_judges_with_the_recipe(make_artifact, good, tmp_path):
    artifact = make_artifact()
    path, _ = calibrated(artifact, good, tmp_path)
    with Detector.load(artifact, path) as detector:
        verdicts = [detector.predict(frame(level)).verdict for level in (90, 91)]
    assert verdicts == [Verdict.OK, Verdict.NG]


def test_every_graph_gets_its_own_calibration(make_artifact, good, tmp_path):
    artifact = make_artifact(precisions=("fp32", "fp16"))
    path, output = calibrated(artifact, good, tmp_path)
    graphs = Artifact.open(artifact).manifest.graphs
    hashes = {c.graph_sha256 for c in read_recipe(path).calibrations}
    assert hashes == {graphs["fp32"].sha256, graphs["fp16"].sha256}
    assert "fp16 on CPUExecutionProvider" in output


def test_one_graph_can_be_chosen(make_artifact, good, tmp_path):
    artifact = make_artifact(precisions=("fp32", "fp16"))
    path, _ = calibrated(artifact, good, tmp_path, "--precision", "fp16")
    (calibration,) = read_recipe(path).calibrations
    assert calibration.graph_sha256 == Artifact.open(artifact).graph("fp16").sha256


def test_a_threshold_records_the_arithmetic_it_was_taken_in(make_artifact, good, tmp_path):
    openvino = pytest.importorskip("openvino")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bfloat16")
    artifact = make_artifact()
    found = {}
    for backend in ("cpu", "openvino", "openvino-bf16"):
        path, _ = calibrated(artifact, good, tmp_path, "--backend", backend)
        (calibration,) = read_recipe(path).calibrations
        found[backend] = calibration.arithmetic
    assert found == {"cpu": None, "openvino": None, "openvino-bf16": "bf16"}


def test_a_map_kind_compares_the_map(make_artifact, good, tmp_path):
    cv2.imwrite(str(good / "hot.png"), frame(50, hot=250))
    path, _ = calibrated(make_artifact(), good, tmp_path, "--score-kind", "map_max")
    (calibration,) = read_recipe(path).calibrations
    assert calibration.score_kind == "map_max"
    assert calibration.threshold == pytest.approx(250 / 255)


def test_the_recipe_knows_how_high_the_maps_of_good_parts_go(make_artifact, good, tmp_path):
    for level in range(30, 50):
        cv2.imwrite(str(good / f"hot{level}.png"), frame(20, hot=level))
    path, _ = calibrated(make_artifact(), good, tmp_path)
    (calibration,) = read_recipe(path).calibrations
    maxima = [*LEVELS, *range(30, 50)]
    assert calibration.score_kind == "graph"
    assert calibration.map_level == pytest.approx(np.quantile(maxima, 0.95) / 255)
    assert replace(calibration, score_kind="map_max").map_level == calibration.threshold


def test_repeated_pictures_count_once(make_artifact, good, tmp_path):
    for copy in range(3):
        cv2.imwrite(str(good / f"copy{copy}.png"), frame(90))
    names = tmp_path / "names.txt"
    path, output = calibrated(make_artifact(), good, tmp_path, "--names-out", names)
    assert read_recipe(path).calibrations[0].bound.n_unique == 5
    assert "from 8 good frames" in output
    assert sorted(names.read_text().split()) == sorted(
        [f"good/p{level}" for level in LEVELS] + [f"good/copy{i}" for i in range(3)]
    )


def test_a_promise_beyond_the_parts_writes_nothing(make_artifact, good, tmp_path):
    recipe, names = tmp_path / "part.json", tmp_path / "names.txt"
    result = run(
        make_artifact(), "--good", good, "--recipe", recipe, "--names-out", names,
        "--max-false-reject", "0.01",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "5 unique good frames cannot promise at most 1 %" in result.output
    assert "that takes 299" in result.output
    assert not recipe.exists()
    assert not names.exists()


def test_a_promise_that_holds_is_written(make_artifact, good, tmp_path):
    path, output = calibrated(
        make_artifact(), good, tmp_path, "--max-false-reject", "0.5", "--confidence", "0.8"
    )
    (calibration,) = read_recipe(path).calibrations
    # P(Binomial(5, 0.5) <= 1) = 6/32 <= 0.2 < P(<= 2), so one part may lie above.
    assert calibration.threshold == pytest.approx(80 / 255)
    assert "at most 50 % false rejects, with 80 % confidence" in output


def test_a_file_that_is_no_recipe_is_not_overwritten(make_artifact, good, tmp_path):
    precious = tmp_path / "part.json"
    precious.write_text(json.dumps({"precious": 1}))
    result = run(make_artifact(), "--good", good, "--recipe", precious)
    assert result.exit_code == 2
    assert json.loads(precious.read_text()) == {"precious": 1}


def test_a_graph_that_answers_nan_names_the_part(make_artifact, good, tmp_path):
    result = run(make_artifact(score="nan"), "--good", good, "--recipe", tmp_path / "part.json")
    assert result.exit_code == 2
    assert "good frame 'good/p50' got the score nan" in result.output


def test_saturated_scores_are_refused(make_artifact, good, tmp_path):
    result = run(make_artifact(gain=9), "--good", good, "--recipe", tmp_path / "part.json")
    assert result.exit_code == 2
    assert "top of the scale" in result.output


@pytest.mark.parametrize("option", [("--limit", "0"), ("--confidence", "1"), ("--score-kind", "x")])
def test_wrong_options_end_with_2(make_artifact, good, tmp_path, option):
    result = run(make_artifact(), "--good", good, "--recipe", tmp_path / "part.json", *option)
    assert result.exit_code == 2
