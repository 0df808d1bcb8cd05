import math

import numpy as np
import pytest

from zsad import Detector, InputError, Verdict, resampling
from zsad.preprocess import PreprocessSpec, resize_exact
from zsad.recipe import Recipe, write_recipe

GREY_51 = np.full((30, 40, 3), 51, np.uint8)
RNG = np.random.default_rng(0)


def test_the_answer_is_the_one_known_by_hand(make_artifact):
    frame = RNG.integers(0, 256, (31, 47, 3), dtype=np.uint8)
    with Detector.load(make_artifact()) as detector:
        result = detector.predict(frame)
    expected = resize_exact(frame, PreprocessSpec(8, 12)).mean(axis=2) / 255
    np.testing.assert_allclose(result.anomaly_map, expected, atol=1e-6)
    assert result.score == pytest.approx(expected.mean(), abs=1e-6)
    assert result.anomaly_map.dtype == np.float32
    assert isinstance(result.score, float)


def test_without_a_recipe_there_is_no_decision(make_artifact):
    with Detector.load(make_artifact()) as detector:
        result = detector.predict(GREY_51)
    assert result.verdict is Verdict.UNCALIBRATED
    assert (result.is_anomalous, result.threshold, result.reason) == (None, None, None)


@pytest.mark.parametrize(
    ("threshold", "verdict", "is_anomalous"),
    [(0.19, Verdict.NG, True), (0.21, Verdict.OK, False)],
)
def test_a_recipe_decides(make_artifact, make_recipe, tmp_path, threshold, verdict, is_anomalous):
    path = make_artifact()
    write_recipe(tmp_path / "part.json", make_recipe(path, threshold))
    with Detector.load(path, recipe=tmp_path / "part.json") as detector:
        result = detector.predict(GREY_51)
    assert (result.verdict, result.is_anomalous) == (verdict, is_anomalous)
    assert (result.threshold, result.reason) == (threshold, None)


def test_the_score_is_of_the_kind_that_was_calibrated(make_artifact, make_recipe):
    path = make_artifact()
    frame = np.zeros((8, 12, 3), np.uint8)
    frame[3, 4] = 255
    with Detector.load(path, make_recipe(path, 0.5, score_kind="map_max")) as detector:
        result = detector.predict(frame)
    assert (result.score, result.verdict) == (1.0, Verdict.NG)
    assert result.map_level == 0.5
    with Detector.load(path, make_recipe(path, 0.5)) as detector:
        result = detector.predict(frame)
    assert result.score == pytest.approx(1 / 96)
    assert result.map_level is None  # this recipe does not know how high good maps go


def test_a_recipe_for_another_graph_gives_no_result(make_artifact, make_recipe):
    path = make_artifact(precisions=("fp32", "fp16"))
    recipe = make_recipe(path, 0.5, "fp16")
    with Detector.load(path, recipe, precision="fp32") as detector:
        result = detector.predict(GREY_51)
    assert (result.verdict, result.is_anomalous) == (Verdict.NO_RESULT, None)
    assert "calibrated for other graphs than model.fp32.onnx" in result.reason
    assert "run zsad-calibrate" in detector.refusal


def test_a_recipe_for_another_preprocessing_gives_no_result(make_artifact, make_recipe):
    path = make_artifact()
    recipe = Recipe(1, "0" * 64, make_recipe(path, 0.5).calibrations)
    with Detector.load(path, recipe) as detector:
        result = detector.predict(GREY_51)
    assert result.verdict is Verdict.NO_RESULT
    assert "calibrated for another preprocessing" in result.reason


def test_the_graph_that_the_recipe_covers_is_loaded(make_artifact, make_recipe):
    path = make_artifact(precisions=("fp16", "fp32"))
    with Detector.load(path, make_recipe(path, 0.5, "fp16")) as detector:
        assert detector.backend.precision == "fp16"
        assert detector.refusal is None
    with Detector.load(path) as detector:
        assert detector.backend.precision == "fp32"


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_score_that_is_no_number_gives_no_result(make_artifact, make_recipe, calibrated):
    path = make_artifact(score="nan")
    with Detector.load(path, make_recipe(path, 0.5) if calibrated else None) as detector:
        result = detector.predict(GREY_51)
    assert math.isnan(result.score)
    assert (result.verdict, result.is_anomalous) == (Verdict.NO_RESULT, None)
    assert "not a number" in result.reason


class NanMap:
    """A backend that gives a good score and one bad pixel."""

    precision, provider, name, inputs, outputs = "fp32", "fake", "cpu", (), ()

    def infer(self, feeds):
        anomaly_map = np.zeros((1, 8, 12), np.float32)
        anomaly_map[0, 2, 3] = np.nan
        return {"score": np.float32([0.1]), "anomaly_map": anomaly_map}

    def close(self):
        pass


def test_a_map_with_one_bad_pixel_gives_no_result(make_artifact, make_recipe):
    path = make_artifact()
    with Detector.load(path) as loaded:
        detector = Detector(loaded.artifact, NanMap(), make_recipe(path, 0.5))
        assert detector.predict(GREY_51).verdict is Verdict.NO_RESULT


def test_a_batch_equals_its_frames_one_by_one(make_artifact):
    frames = [RNG.integers(0, 256, (height, 47, 3), dtype=np.uint8) for height in (8, 31, 90)]
    with Detector.load(make_artifact()) as detector:
        batch = detector.predict_batch(frames)
        for frame, result in zip(frames, batch, strict=True):
            single = detector.predict(frame)
            assert result.score == single.score
            np.testing.assert_array_equal(result.anomaly_map, single.anomaly_map)
        assert detector.predict_batch([]) == []


def test_a_frame_is_resized_by_as_many_threads_as_were_asked_for(make_artifact, monkeypatch):
    monkeypatch.setattr(resampling, "LEAST_BYTES", 1)
    frame = np.random.default_rng(4).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    with Detector.load(make_artifact(), threads=4) as detector:
        expected = detector.predict(frame)
    monkeypatch.setattr(resampling, "_pool", None)  # what a second thread would come from
    with Detector.load(make_artifact("again"), threads=1) as detector:
        found = detector.predict(frame)
    np.testing.assert_array_equal(found.anomaly_map, expected.anomaly_map)


@pytest.mark.parametrize(("name", "batches"), [("cpu", [1]), ("cuda-graph", [1, 2, 3])])
def test_what_records_its_runs_has_one_of_every_batch_size(make_artifact, name, batches):
    with Detector.load(make_artifact(), backend="cpu") as detector:
        seen = []
        infer = detector.backend.infer
        detector.backend.infer = lambda feeds: seen.append(len(feeds["image"])) or infer(feeds)
        detector.backend.name = name
        detector.warm_up(3)
    assert seen == batches


def test_stages_add_up_to_the_total(make_artifact):
    with Detector.load(make_artifact()) as detector:
        detector.warm_up()
        latency_ms = detector.predict(GREY_51).latency_ms
    assert list(latency_ms) == ["preprocess", "infer", "post", "total"]
    stages = sum(latency_ms[name] for name in ("preprocess", "infer", "post"))
    assert latency_ms["total"] == pytest.approx(stages)
    assert min(latency_ms.values()) > 0


def test_a_result_outlives_the_next_frame(make_artifact):
    with Detector.load(make_artifact()) as detector:
        first = detector.predict(GREY_51)
        kept = first.anomaly_map.copy()
        detector.predict(np.full((30, 40, 3), 200, np.uint8))
        np.testing.assert_array_equal(first.anomaly_map, kept)


def test_what_is_no_frame_and_a_closed_detector_are_refused(make_artifact):
    detector = Detector.load(make_artifact(), threads=1)
    with pytest.raises(InputError, match="must be a uint8 array"):
        detector.predict(np.zeros((8, 12, 3), np.float32))
    detector.close()
    detector.close()
    with pytest.raises(InputError, match="is closed"):
        detector.predict(GREY_51)
