import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from calibrate_rig import LEVELS, calibrated, frame, run

from zsad import Detector, Verdict
from zsad.artifact import Artifact
from zsad.recipe import read_recipe


def test_the_threshold_is_the_highest_good_score(make_artifact, good, tmp_path):
    # The known graph's score is the mean grey level / 255.
    artifact = make_artifact()
    path, output = calibrated(artifact, good, tmp_path)
    (calibration,) = read_recipe(path).calibrations
    assert calibration.threshold == pytest.approx(90 / 255)
    assert calibration.good_scores == pytest.approx([level / 255 for level in LEVELS])
    assert calibration.bound.n_unique == 5
    assert calibration.bound.max_false_reject == pytest.approx(1 - 0.05**0.2)
    assert "5 distinct parts support at most 45.1 % false rejects" in output
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
        calibration = read_recipe(path).calibrations[0]
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
    path, _ = calibrated(make_artifact(), good, tmp_path, "--each-frame-a-part")
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
    assert "from 8 good frames of 5 parts: 3 show a part again;" in output
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


class TestBursts:
    def test_a_burst_of_one_still_part_counts_once_with_its_highest_score(
        self, make_artifact, good, tmp_path
    ):
        rng = np.random.default_rng(3)
        still = np.full((64, 96, 3), 120.0)
        still[20:40, 30:60] = 170
        for number in range(40):
            noisy = np.rint(still + rng.normal(0, 3, still.shape)).astype(np.uint8)
            cv2.imwrite(str(good / f"still{number:02}.png"), noisy)
        highest = max(cv2.imread(str(path)).mean() for path in good.glob("still*"))
        path, output = calibrated(make_artifact(), good, tmp_path)
        (calibration,) = read_recipe(path).calibrations
        assert calibration.bound.n_unique == 6
        # The graph sees a resized frame, whose mean is off by rounding.
        assert calibration.good_scores[-1] == pytest.approx(highest / 255, abs=1e-3)
        assert "from 45 good frames of 6 parts: 39 show a part again (--each-frame" in output

    def test_drift_is_told_by_one_frame_of_each_part(self, make_artifact, good, tmp_path):
        # Two frames of one part, one grey level apart: the first counts, not the highest.
        for name, level in {"still0": 120, "still1": 121}.items():
            cv2.imwrite(str(good / f"{name}.png"), frame(level))
        path, _ = calibrated(make_artifact(), good, tmp_path)
        (calibration,) = read_recipe(path).calibrations
        assert calibration.good_scores[-1] == pytest.approx(121 / 255)
        assert calibration.single_scores == pytest.approx([n / 255 for n in (*LEVELS, 120)])

    def test_scores_are_not_kept_twice_without_bursts(self, make_artifact, good, tmp_path):
        path, _ = calibrated(make_artifact(), good, tmp_path)
        (calibration,) = read_recipe(path).calibrations
        assert calibration.first_scores == ()
        assert calibration.single_scores == calibration.good_scores

    def test_a_promise_is_not_carried_by_a_burst(self, make_artifact, good, tmp_path):
        rng = np.random.default_rng(3)
        for number in range(40):
            noisy = rng.normal(120, 3, (64, 96, 3)).round().astype(np.uint8)
            cv2.imwrite(str(good / f"still{number:02}.png"), noisy)
        options = ("--good", good, "--recipe", tmp_path / "part.json", "--max-false-reject", "0.1")
        result = run(make_artifact(), *options)
        assert result.exit_code == 2
        assert "6 unique good frames cannot promise at most 10 %" in result.output
        result = run(make_artifact("again"), *options, "--each-frame-a-part")
        assert result.exit_code == 0, result.output


class TestCurve:
    def test_what_other_thresholds_would_cost_is_written_and_printed(
        self, make_artifact, good, tmp_path
    ):
        path, output = calibrated(make_artifact(), good, tmp_path)
        (point,) = read_recipe(path).calibrations[0].curve
        assert point.threshold == pytest.approx(90 / 255)
        assert point.expected_share == pytest.approx(1 / 6)
        assert point.max_share == pytest.approx(1 - 0.05**0.2)
        assert "0.3529                16.7 %            45.1 %" in output


def textured(folder, count, seed=0):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        pattern = rng.integers(0, 90, (8, 12, 3), np.uint8)
        large = np.kron(pattern, np.ones((8, 8, 1), np.uint8))  # parts that a thumbnail tells apart
        cv2.imwrite(str(folder / f"p{index:03}.png"), large)
    return folder


def test_the_recipe_keeps_how_good_parts_look_each_part_once(make_artifact, tmp_path):
    artifact, good = make_artifact(), textured(tmp_path / "good", 20)
    (good / "q000.png").write_bytes((good / "p000.png").read_bytes())  # a part seen twice
    path, output = calibrated(artifact, good, tmp_path)
    look = read_recipe(path).drift
    assert len(look.levels) == len(look.offsets) == 20
    assert min(look.levels) == pytest.approx(45, abs=8)
    assert "drift is watched by the look of 20 good parts" in output


def test_too_few_parts_leave_drift_unwatched_and_say_so(make_artifact, tmp_path):
    artifact = make_artifact(precisions=("fp32", "fp16"))
    path, output = calibrated(artifact, textured(tmp_path / "few", 19), tmp_path)
    assert read_recipe(path).drift is None
    assert "drift of light, lens and fixture is not watched: that takes 20 good parts" in output


def test_fewer_parts_for_another_graph_keep_the_look_of_those_before(make_artifact, tmp_path):
    artifact = make_artifact(precisions=("fp32", "fp16"))
    many, few = textured(tmp_path / "many", 25), textured(tmp_path / "few", 5, seed=1)
    path, _ = calibrated(artifact, many, tmp_path, "--precision", "fp32")
    before = read_recipe(path).drift
    calibrated(artifact, few, tmp_path, "--precision", "fp16")
    assert before is not None and len(read_recipe(path).calibrations) == 2
    assert read_recipe(path).drift == before
