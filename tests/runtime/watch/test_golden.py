import dataclasses

import numpy as np
import pytest
from made_engines import HW, answer, scale_by, texture
from onnx import numpy_helper
from PIL import Image

from zsad.artifact import Artifact
from zsad.errors import InferenceError, InputError
from zsad.golden import GoldenFrame, GoldenOutputs, read_golden
from zsad.inspection.config import Inspection, Tiles
from zsad.parity import LIMITS
from zsad.parity_record import ParityRecord
from zsad.text_table import change_words
from zsad.watch.golden import GoldenReplay
from zsad.watch.limits import limits_for
from zsad_export.golden import write_golden


def test_an_engine_that_computes_what_was_trained_passes(make_watched, open_detector):
    artifact = make_watched()
    result = GoldenReplay(artifact).check(open_detector(artifact))
    assert result.ok and result.frames == 3 and result.flips == {}
    assert result.parity.score_max_abs < 1e-6
    assert "3 golden frames within parity" in result.describe()


def test_a_scale_that_is_off_by_ten_is_found_in_every_frame(make_watched, open_detector):
    artifact = make_watched(change={"fp32": scale_by(0.1)})
    result = GoldenReplay(artifact).check(open_detector(artifact))
    assert not result.ok and len(result.findings) == 3
    assert result.findings[0].startswith("golden t")
    worst = max(result.parity.frames, key=lambda frame: frame.score_abs)
    assert worst.score_abs == pytest.approx(0.9 * read_golden(artifact)[1].scores.max(), rel=1e-3)


def test_swapped_colours_are_found(make_watched, open_detector):
    def swap(model):
        weight = next(w for w in model.graph.initializer if w.name == "weights")
        swapped = numpy_helper.to_array(weight)[::-1].copy()
        weight.CopyFrom(numpy_helper.from_array(swapped, "weights"))

    artifact = make_watched(change={"fp32": swap})
    assert not GoldenReplay(artifact).check(open_detector(artifact)).ok


def test_another_resize_is_found(make_watched, open_detector, monkeypatch):
    artifact = make_watched()
    replay, detector = GoldenReplay(artifact), open_detector(artifact)
    assert replay.check(detector).ok
    resize = Image.Image.resize

    def bilinear(image, size, resample):
        return resize(image, size, Image.Resampling.BILINEAR)

    monkeypatch.setattr(Image.Image, "resize", bilinear)
    result = replay.check(detector)
    # The second frame has the model's size already, so nothing resizes it.
    assert {line.split(":")[0] for line in result.findings} == {"golden t2", "golden t0"}


def test_an_engine_that_fails_is_a_finding_and_no_exception(
    make_watched, open_detector, monkeypatch
):
    artifact = make_watched()
    detector = open_detector(artifact)

    def fail(feeds):
        raise InferenceError("CUDA error 700")

    monkeypatch.setattr(detector.backend, "infer", fail)
    result = GoldenReplay(artifact).check(detector)
    assert (result.ok, result.findings, result.parity) == (False, ("CUDA error 700",), None)
    assert result.describe() == "CUDA error 700"


def test_a_step_costs_one_inference_and_a_round_sees_every_frame(
    make_watched, open_detector, monkeypatch
):
    artifact = make_watched()
    detector, replay, batches = open_detector(artifact), GoldenReplay(artifact), []
    infer = detector.backend.infer

    def count(feeds):
        batches.append(len(feeds["image"]))
        return infer(feeds)

    monkeypatch.setattr(detector.backend, "infer", count)
    for _ in range(2):
        assert replay.step(detector) is None and replay.is_under_way
        assert replay.step(detector) is None
        result = replay.step(detector)
        assert result.ok and result.frames == 3 and not replay.is_under_way
    assert batches == [1] * 6


def test_a_step_over_the_limits_ends_the_round_at_once(make_watched, open_detector):
    artifact = make_watched(change={"fp32": scale_by(10)})
    detector, replay = open_detector(artifact), GoldenReplay(artifact)
    result = replay.step(detector)
    assert not result.ok and result.frames == 1 and not replay.is_under_way


def test_verdicts_that_flip_at_the_threshold_are_counted(make_watched, make_recipe, open_detector):
    artifact = make_watched(change={"fp32": scale_by(1.1)})
    detector = open_detector(artifact)
    scores = GoldenReplay(artifact).run(detector.backend).reference.scores
    low = float(scores.min()) * 1.05
    recipes = {
        "calm": make_recipe(artifact, "fp32", threshold=0.9),
        "close": make_recipe(artifact, "fp32", threshold=low),
    }
    above = int(((scores <= low) & (scores * 1.1 > low)).sum())
    assert above >= 1
    assert GoldenReplay(artifact, None, recipes).check(detector).flips == {
        "calm": 0,
        "close": above,
    }
    wide = dataclasses.replace(LIMITS["fp32"], score_max_abs=0.2, map_max_abs=0.2)
    result = GoldenReplay(artifact, wide, recipes).check(detector)
    assert result.ok
    assert result.describe().endswith(f", verdicts flipped: {above} by the recipe of close")


def test_an_artifact_without_golden_frames_says_so(make_artifact):
    with pytest.raises(InputError, match=r"golden/reference\.npz"):
        GoldenReplay(Artifact.open(make_artifact()))


def test_an_engine_that_answers_in_another_shape_is_a_finding(
    make_watched, open_detector, monkeypatch
):
    artifact = make_watched()
    detector = open_detector(artifact)
    infer = detector.backend.infer

    def cropped(feeds):
        return {**infer(feeds), "anomaly_map": np.zeros((1, 4, 4), np.float32)}

    monkeypatch.setattr(detector.backend, "infer", cropped)
    (finding,) = GoldenReplay(artifact).check(detector).findings
    assert "answers in shapes ((1,), (1, 4, 4), None), not ((1,), (1, 8, 12), None)" in finding


def test_other_words_leave_the_golden_frames_what_they_were(
    make_typed_artifact, reseal, open_detector, tmp_path
):
    path = make_typed_artifact()
    table = np.load(path / "text_table.npy")
    score, grey = answer(texture(0, HW))
    types = (grey.max() * table[1:, 0])[None]
    outputs = GoldenOutputs(np.float32([score]), grey[None], np.float32(types))
    frames = [GoldenFrame("only", texture(0, HW))]
    write_golden(path, frames, outputs, {"text_table": table})
    reseal(path)
    before = Artifact.open(path)
    assert GoldenReplay(before).check(open_detector(before)).ok
    after = change_words(before, ("dent", "crack", "rust stain"), tmp_path / "other")
    assert GoldenReplay(after).check(open_detector(after)).ok


def test_a_region_or_tiles_have_no_verdict_about_golden_frames(
    make_watched, make_recipe, open_detector
):
    artifact = make_watched()
    inspection = Inspection(None, Tiles(8, 12, 4), (16, 24))
    whole = make_recipe(artifact, "fp32", kind="map_max")
    tiled = dataclasses.replace(whole.calibrations[0], inspection_sha256=inspection.sha256)
    recipe = dataclasses.replace(
        whole, calibrations=(tiled,), tiles=inspection.tiles, frame_hw=inspection.frame_hw
    )
    detector = open_detector(artifact, recipe)
    assert detector.calibration is not None
    result = GoldenReplay(artifact, recipes={"top": recipe}).check(detector)
    assert result.ok and result.flips == {}


def record(score, map_max, correlation):
    return ParityRecord(4, "cpu", score, map_max, map_max / 10, correlation, None, "test")


def test_limits_follow_the_precision_and_what_the_export_was_let_through_with(make_watched):
    manifest = make_watched(precisions=("fp32", "fp16")).manifest
    assert limits_for(manifest, "fp32") == dataclasses.replace(
        LIMITS["fp32"], map_varies=LIMITS["fp32"].map_varies
    )
    lossy = dataclasses.replace(manifest, parity={"fp16": record(0.04, 0.08, 0.99)})
    found = limits_for(lossy, "fp16")
    assert found.score_max_abs == pytest.approx(0.05)
    assert found.map_max_abs == pytest.approx(0.1)
    assert found.map_correlation == pytest.approx(1 - 0.0125)
    tight = dataclasses.replace(manifest, parity={"fp16": record(1e-5, 1e-5, None)})
    assert limits_for(tight, "fp16").score_max_abs == LIMITS["fp16"].score_max_abs
    assert limits_for(manifest, "fp32", "tf32").score_max_abs == LIMITS["fp16"].score_max_abs
    assert limits_for(manifest, "fp32", "bf16").score_max_abs == 0.1


def test_a_value_that_is_no_number_never_passes(make_watched, open_detector):
    artifact = make_watched(change={"fp32": scale_by(np.nan)})
    assert not GoldenReplay(artifact).check(open_detector(artifact)).ok
