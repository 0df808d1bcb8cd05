"""Calibrating with a region, tiles and defect types, and what a recipe keeps of before."""

import json

import cv2
import numpy as np
import pytest
from calibrate_rig import calibrated, frame, run

from zsad import Detector, Verdict
from zsad.artifact import Artifact
from zsad.inspection.config import DebounceConfig, Roi, Tiles
from zsad.overlay import caption_text
from zsad.recipe import read_recipe

LEFT = [[[0, 0], [6, 0], [6, 8], [0, 8]]]


class TestRegionAndTiles:
    @pytest.fixture
    def roi(self, tmp_path):
        path = tmp_path / "roi.json"
        path.write_text(json.dumps({"include": LEFT, "size_px": [12, 8]}))
        return path

    def test_a_region_is_scored_by_the_map_and_that_is_said(
        self, make_artifact, good, roi, tmp_path
    ):
        outside = frame(60)
        outside[3, 8] = 255
        cv2.imwrite(str(good / "outside.png"), outside)
        artifact = make_artifact()
        path, output = calibrated(artifact, good, tmp_path, "--roi", roi)
        recipe = read_recipe(path)
        assert recipe.frame_hw == (8, 12)
        assert recipe.calibrations[0].score_kind == "map_max"
        assert recipe.calibrations[0].threshold == pytest.approx(90 / 255)
        assert "score kind map_max: a region can only be scored by the map" in output
        inside = outside[:, ::-1].copy()
        with Detector.load(artifact, path) as detector:
            assert detector.predict(outside).verdict is Verdict.OK
            assert detector.predict(inside).verdict is Verdict.NG

    def test_the_graphs_own_score_is_refused(self, make_artifact, good, roi, tmp_path):
        recipe = tmp_path / "part.json"
        for option in (("--roi", roi), ("--tiles", "8")):
            asked = ("--good", good, "--recipe", recipe, "--score-kind", "graph", *option)
            result = run(make_artifact(option[0]), *asked)
            assert result.exit_code == 2
            assert "--score-kind graph is about the graph's whole input" in result.output
        assert not recipe.exists()

    def test_tiles_and_ignored_polygons(self, make_artifact, good, tmp_path):
        options = (
            "--tiles",
            "4x6:1",
            "--ignore",
            "0,0 0.5,0 0.5,1 0,1",
            "--score-kind",
            "map_top1pct",
        )
        path, output = calibrated(make_artifact(), good, tmp_path, *options)
        recipe = read_recipe(path)
        assert recipe.tiles == Tiles(4, 6, 1)
        assert recipe.roi == Roi(ignore=(((0, 0), (0.5, 0), (0.5, 1), (0, 1)),))
        assert "score kind map_top1pct: a region and tiles can only" in output

    def test_what_the_recipe_has_stays_until_it_is_taken_away(
        self, make_artifact, good, roi, tmp_path
    ):
        artifact = make_artifact()
        calibrated(artifact, good, tmp_path, "--roi", roi, "--tiles", "8")
        path, _ = calibrated(artifact, good, tmp_path)
        assert read_recipe(path).roi is not None
        assert read_recipe(path).tiles == Tiles(8, 8, 2)
        calibrated(artifact, good, tmp_path, "--roi", "none", "--tiles", "none")
        assert read_recipe(path).inspection.needs_map is False
        assert read_recipe(path).calibrations[0].score_kind == "graph"

    def test_the_same_command_makes_the_same_region(self, make_artifact, good, roi, tmp_path):
        artifact = make_artifact()
        options = ("--roi", roi, "--ignore", "0,0 0.1,0 0,0.1")
        first = read_recipe(calibrated(artifact, good, tmp_path, *options)[0])
        second = read_recipe(calibrated(artifact, good, tmp_path, *options)[0])
        assert first == second
        assert (len(first.roi.include), len(first.roi.ignore)) == (1, 1)
        alone = read_recipe(calibrated(artifact, good, tmp_path, *options[2:])[0])
        assert (len(alone.roi.include), len(alone.roi.ignore)) == (0, 1)

    def test_frames_of_another_size_are_refused(self, make_artifact, good, roi, tmp_path):
        cv2.imwrite(str(good / "q.png"), np.full((16, 24, 3), 70, np.uint8))
        options = ("--good", good, "--recipe", tmp_path / "part.json", "--roi", roi)
        result = run(make_artifact(), *options)
        assert result.exit_code == 2
        assert "good frame 'good/q' is 24x16, those before 12x8" in result.output

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            (("--tiles", "8:5"), "use 0 to 4"),
            (("--tiles", "big"), "--tiles big is no size"),
            (("--ignore", "0,0 1"), "is no polygon"),
            (("--ignore", "0,0 1,1"), "a polygon of 2 points"),
            (("--roi", "nowhere.json"), "ROI not found: nowhere.json"),
            (("--debounce", "2"), "--debounce 2 is no rule"),
            (("--debounce", "3/2"), "3 of 2 frames is no rule"),
        ],
    )
    def test_what_is_none_ends_with_2(self, make_artifact, good, tmp_path, option, message):
        options = ("--good", good, "--recipe", tmp_path / "part.json", *option)
        result = run(make_artifact(), *options)
        assert result.exit_code == 2
        assert message in result.output


class TestMerge:
    def test_a_graph_that_was_not_run_keeps_its_calibration(self, make_artifact, good, tmp_path):
        artifact = make_artifact(precisions=("fp32", "fp16"))
        calibrated(artifact, good, tmp_path, "--precision", "fp16")
        path, output = calibrated(artifact, good, tmp_path, "--precision", "fp32")
        opened = Artifact.open(artifact)
        graphs = [opened.graph(precision).sha256 for precision in ("fp32", "fp16")]
        assert [c.graph_sha256 for c in read_recipe(path).calibrations] == graphs
        assert "1 calibration of other graphs kept" in output

    def test_a_graph_that_is_run_again_is_replaced(self, make_artifact, good, tmp_path):
        artifact = make_artifact(precisions=("fp32", "fp16"))
        calibrated(artifact, good, tmp_path)
        cv2.imwrite(str(good / "bright.png"), frame(200))
        path, _ = calibrated(artifact, good, tmp_path, "--precision", "fp16")
        found = {c.graph_sha256: c.threshold for c in read_recipe(path).calibrations}
        opened = Artifact.open(artifact)
        assert found[opened.graph("fp16").sha256] == pytest.approx(200 / 255)
        assert found[opened.graph("fp32").sha256] == pytest.approx(90 / 255)

    def test_none_is_kept_that_was_made_with_another_region(self, make_artifact, good, tmp_path):
        artifact = make_artifact(precisions=("fp32", "fp16"))
        calibrated(artifact, good, tmp_path)
        options = ("--precision", "fp32", "--ignore", "0,0 0.5,0 0,0.5")
        path, output = calibrated(artifact, good, tmp_path, *options)
        (calibration,) = read_recipe(path).calibrations
        assert calibration.graph_sha256 == Artifact.open(artifact).graph("fp32").sha256
        assert "1 calibration of other graphs dropped: made with another region" in output

    def test_an_artifact_with_other_preprocessing_begins_anew(self, make_artifact, good, tmp_path):
        calibrated(make_artifact(), good, tmp_path)
        path, output = calibrated(make_artifact("wide", width=24), good, tmp_path)
        assert len(read_recipe(path).calibrations) == 1
        assert "dropped: made with another preprocessing" in output

    def test_debounce_stays_and_can_be_changed(self, make_artifact, good, tmp_path):
        artifact = make_artifact()
        calibrated(artifact, good, tmp_path, "--debounce", "2/3")
        path, _ = calibrated(artifact, good, tmp_path)
        assert read_recipe(path).debounce == DebounceConfig(0.0, 2, 3)
        calibrated(artifact, good, tmp_path, "--hysteresis", "0.1")
        assert read_recipe(path).debounce == DebounceConfig(0.1, 2, 3)


class TestTypes:
    def test_each_type_gets_a_threshold_and_the_promise_covers_all(
        self, make_typed_artifact, good, tmp_path
    ):
        artifact = make_typed_artifact()  # a type's score is 5/12 of the map's maximum
        path, output = calibrated(artifact, good, tmp_path, "--by-type")
        (calibration,) = read_recipe(path).calibrations
        assert [each.name for each in calibration.types] == ["dent", "rust"]
        # 90 is taken away for the score, 80 for dents, 70 for rust.
        assert calibration.threshold == pytest.approx(90 / 255)
        limits = [each.threshold for each in calibration.types]
        assert limits == pytest.approx([80 / 255 * 5 / 12, 70 / 255 * 5 / 12])
        assert calibration.bound.max_false_reject == pytest.approx(0.8107, abs=1e-4)  # Beta(3, 3)
        assert "false rejects by any of 3 thresholds" in output

    def test_a_verdict_names_the_type_that_is_above_its_own(
        self, make_typed_artifact, good, tmp_path
    ):
        artifact = make_typed_artifact()
        path, _ = calibrated(artifact, good, tmp_path, "--by-type")
        with Detector.load(artifact, path) as detector:
            ok, rusty, both = (detector.predict(frame(level)) for level in (70, 75, 200))
        assert (ok.verdict, ok.defect) == (Verdict.OK, None)
        assert rusty.verdict is Verdict.NG and rusty.score <= rusty.threshold
        assert (rusty.defect.name, rusty.defect.index) == ("rust", 1)
        assert rusty.defect.threshold == pytest.approx(70 / 255 * 5 / 12)
        assert "rust 0.123 > 0.114" in caption_text(rusty)
        assert both.defect.name == "rust"  # it went further beyond its threshold

    def test_types_under_a_region_are_read_from_their_maps(
        self, make_typed_artifact, good, tmp_path
    ):
        artifact = make_typed_artifact()
        options = ("--by-type", "--ignore", "0,0 0.5,0 0.5,1 0,1")
        path, _ = calibrated(artifact, good, tmp_path, *options)
        ignored, seen = frame(60), frame(60)
        ignored[3, 2] = seen[3, 9] = 255
        with Detector.load(artifact, path) as detector:
            assert detector.predict(ignored).verdict is Verdict.OK
            assert detector.predict(seen).verdict is Verdict.NG

    def test_an_artifact_without_types_has_none(self, make_artifact, good, tmp_path):
        options = ("--good", good, "--recipe", tmp_path / "part.json", "--by-type")
        result = run(make_artifact(), *options)
        assert result.exit_code == 2
        assert "names no defect types" in result.output
