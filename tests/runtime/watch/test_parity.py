import dataclasses
import itertools

import numpy as np
import pytest
from made_engines import HW, scale_by, texture

from zsad.artifact import Artifact
from zsad.errors import InputError
from zsad.golden import read_golden
from zsad.recipe import TypeThreshold
from zsad.watch.config import ReplayConfig
from zsad.watch.fallback import fallbacks
from zsad.watch.identity import identity_of, recall_identity, remember_identity
from zsad.watch.parity import ParityWatch


@pytest.fixture
def make_watch(open_detector, tmp_path):
    """Return `make(artifact, recipe, **ReplayConfig) -> watch` on the CPU, with a memory."""

    def make(artifact, recipe, **config):
        return ParityWatch(
            artifact,
            {} if recipe is None else {"top": recipe},
            ReplayConfig(**config),
            lambda precision, backend: open_detector(artifact, recipe, precision, backend),
            tmp_path / "engine.json",
        )

    return make


def test_what_may_take_over_is_what_the_recipe_covers(make_watched, make_recipe):
    artifact = make_watched(precisions=("fp32", "fp16", "int8"))
    recipe = make_recipe(artifact, "fp16", "fp32")
    found = fallbacks(artifact, [recipe], ("fp16", "tensorrt"))
    assert ("fp16", "tensorrt") not in found
    assert {precision for precision, _ in found} == {"fp16", "fp32"}
    precisions = [precision for precision, _ in found]
    assert precisions == sorted(precisions), "the graph that judged comes first"
    gpu_first = [backend for precision, backend in found if precision == "fp16"]
    assert gpu_first == [
        "cuda",
        "cuda-graph",
        "tensorrt-graph",
        "tensorrt-rtx",
        "cpu",
        "openvino",
        "ort-tensorrt",
    ]
    on_cpu = [backend for precision, backend in fallbacks(artifact, [recipe], ("fp32", "cpu"))]
    assert on_cpu[0] == "openvino"


def test_what_serves_every_recipe_comes_before_what_serves_some(make_watched, make_recipe):
    artifact = make_watched(precisions=("fp32", "fp16", "int8"))
    wide, narrow = make_recipe(artifact, "fp32", "fp16"), make_recipe(artifact, "fp16")
    for recipes in ([wide, narrow], [narrow, wide]):
        found = fallbacks(artifact, recipes, ("fp32", "cpu"))
        precisions = [precision for precision, _ in found]
        assert precisions == sorted(precisions), "fp16 serves both, and fp32 one"
        assert set(precisions) == {"fp16", "fp32"}
    apart = [make_recipe(artifact, "fp32"), narrow, narrow]
    assert fallbacks(artifact, apart, ("fp32", "cpu"))[0][0] == "fp16", "two cameras of three"


def test_an_engine_that_rounds_more_takes_over_only_where_it_was_calibrated(
    make_watched, make_recipe
):
    artifact = make_watched()
    exact = make_recipe(artifact, "fp32")
    rounded = dataclasses.replace(exact.calibrations[0], arithmetic="tf32")
    recipe = dataclasses.replace(exact, calibrations=(rounded,))
    assert fallbacks(artifact, [recipe], ("fp32", "tensorrt-tf32")) == [
        ("fp32", "tensorrt-rtx-tf32")
    ]


def test_nothing_takes_over_without_a_recipe_or_with_one_for_other_parts(make_watched, make_recipe):
    artifact = make_watched()
    recipe = make_recipe(artifact, "fp32")
    assert fallbacks(artifact, [], ("fp32", "cpu")) == []
    other = dataclasses.replace(recipe, preprocess_sha256="0" * 64)
    assert fallbacks(artifact, [other], ("fp32", "cpu")) == []


def test_thresholds_of_other_defect_types_let_nothing_take_over(make_watched, make_recipe):
    artifact = make_watched()
    recipe = make_recipe(artifact, "fp32")
    own = dataclasses.replace(recipe.calibrations[0], types=(TypeThreshold("scratch", 0.5),))
    other = dataclasses.replace(recipe, calibrations=(own,))
    assert fallbacks(artifact, [recipe], ("fp32", "cpu"))
    assert fallbacks(artifact, [other], ("fp32", "cpu")) == []


def test_a_sound_engine_goes_on(make_watched, make_recipe, make_watch, open_detector):
    artifact = make_watched()
    recipe = make_recipe(artifact, "fp32")
    watch, detector = make_watch(artifact, recipe), open_detector(artifact, recipe)
    ruling = watch.at_start(detector, now_s=0.0)
    assert ruling.detector is detector and ruling.result.ok and watch.alarms == ()
    (change,) = ruling.changes
    assert change.before == "none" and change.reason.startswith("first start; 3 golden frames")
    assert watch.at_start(detector, now_s=1.0).changes == (), "nothing changed since"


def test_flips_are_counted_at_the_threshold_of_every_recipe(
    make_watched, make_recipe, open_detector
):
    artifact = make_watched(change={"fp32": scale_by(1 + 1e-5)})
    low, *_ = sorted(float(score) for score in read_golden(artifact)[1].scores)
    calm = make_recipe(artifact, "fp32", threshold=0.95)
    close = make_recipe(artifact, "fp32", threshold=np.nextafter(np.float32(low), 1).item())
    other = dataclasses.replace(close, preprocess_sha256="0" * 64)
    recipes = {"top": calm, "left": close, "right": close, "back": other}
    watch = ParityWatch(artifact, recipes, ReplayConfig(), lambda *_: pytest.fail("no breach"))
    result = watch.at_start(open_detector(artifact, calm), now_s=0.0).result
    assert result.ok
    assert result.flips == {"top": 0, "left and right": 1}, "the last serves another preprocessing"
    assert result.describe().endswith(", verdicts flipped: 1 by the recipe of left and right")


def test_a_breach_at_the_start_takes_the_next_graph_that_was_calibrated(
    make_watched, make_recipe, make_watch, open_detector
):
    artifact = make_watched(precisions=("fp16", "fp32"), change={"fp16": scale_by(0.1)})
    recipe = make_recipe(artifact, "fp16", "fp32")
    watch, detector = make_watch(artifact, recipe), open_detector(artifact, recipe, "fp16")
    ruling = watch.at_start(detector, now_s=0.0)
    backend = ruling.detector.backend
    assert (backend.precision, backend.name) == ("fp32", "cpu")
    assert ruling.detector.calibration is not None and not ruling.result.ok
    (change,) = ruling.changes
    assert "backend cpu" in change.before and artifact.graph("fp32").sha256 in change.after
    assert "fp16 on cpu is out of parity: golden t" in change.reason
    assert "not taken: fp16 on openvino" in change.reason, "it has the same graph"
    assert watch.alarms[0].startswith("fp32 on cpu judges: fp16 on cpu is out of parity")
    with pytest.raises(InputError, match="closed"):
        detector.predict(texture(0, HW))


def test_a_breach_is_told_before_anything_that_may_take_over_is_opened(
    make_watched, make_recipe, open_detector
):
    artifact = make_watched(precisions=("fp16", "fp32"), change={"fp16": scale_by(0.1)})
    recipe, events = make_recipe(artifact, "fp16", "fp32"), []

    def open_one(precision, backend):
        events.append("opened")
        return open_detector(artifact, recipe, precision, backend)

    watch = ParityWatch(artifact, {"top": recipe}, ReplayConfig(), open_one, None, events.append)
    watch.at_start(open_detector(artifact, recipe, "fp16"), now_s=0.0)
    assert events[0].startswith("fp16 on cpu is out of parity: golden t")
    assert set(events[1:]) == {"opened"}


def test_a_breach_without_a_successor_leaves_no_result(
    make_watched, make_recipe, make_watch, open_detector
):
    artifact = make_watched(precisions=("fp16", "fp32"), change={"fp16": scale_by(0.1)})
    recipe = make_recipe(artifact, "fp16")
    watch = make_watch(artifact, recipe)
    ruling = watch.at_start(open_detector(artifact, recipe, "fp16"), now_s=0.0)
    assert ruling.detector is None and ruling.changes[0].after == "none"
    assert watch.alarms[0].startswith("no engine judges: fp16 on cpu is out of parity")


def test_a_line_may_refuse_to_fall_back(make_watched, make_recipe, make_watch, open_detector):
    artifact = make_watched(precisions=("fp16", "fp32"), change={"fp16": scale_by(0.1)})
    recipe = make_recipe(artifact, "fp16", "fp32")
    watch = make_watch(artifact, recipe, fall_back=False)
    assert watch.at_start(open_detector(artifact, recipe, "fp16"), 0.0).detector is None


def test_a_driver_that_changes_under_a_running_engine_is_found_within_one_round(
    make_watched, make_recipe, make_watch, open_detector, monkeypatch
):
    artifact = make_watched(precisions=("fp16", "fp32"))
    recipe = make_recipe(artifact, "fp16", "fp32")
    watch = make_watch(artifact, recipe, every_s=60.0)
    detector = open_detector(artifact, recipe, "fp16")
    assert watch.at_start(detector, now_s=0.0).result.ok
    assert watch.in_idle_slot(detector, now_s=59.0) is None and not watch.wants_slot(59.0)

    # An engine that is right for the first golden frame alone: a round finds it, one frame may not.
    infer, calls = detector.backend.infer, itertools.count()

    def otherwise(feeds):
        outputs = infer(feeds)
        if next(calls):
            outputs["anomaly_map"] = outputs["anomaly_map"] * 0.5
        return outputs

    monkeypatch.setattr(detector.backend, "infer", otherwise)
    assert watch.wants_slot(60.0)
    assert watch.in_idle_slot(detector, now_s=60.0) is None
    ruling = watch.in_idle_slot(detector, now_s=60.1)
    assert not ruling.result.ok and ruling.detector.backend.name in ("openvino", "cpu")
    assert next(calls) == 2, "no slot cost more than one inference"

    successor = ruling.detector
    assert not watch.wants_slot(119.0) and watch.wants_slot(120.0), "it is watched in its turn"
    rulings = [watch.in_idle_slot(successor, now_s=120.0) for _ in range(3)]
    assert rulings[-1].detector is successor and rulings[-1].result.ok


def test_a_line_that_is_never_idle_is_told_to_make_a_slot(
    make_watched, make_recipe, make_watch, open_detector
):
    artifact = make_watched()
    recipe = make_recipe(artifact, "fp32")
    watch = make_watch(artifact, recipe, every_s=60.0)
    watch.at_start(open_detector(artifact, recipe), now_s=0.0)
    assert not watch.is_overdue(119.0) and watch.is_overdue(120.0)
    never = make_watch(artifact, recipe, every_s=0.0)
    never.at_start(open_detector(artifact, recipe), now_s=0.0)
    assert not never.wants_slot(1e9)


def test_an_artifact_without_golden_frames_judges_and_says_so(
    make_artifact, make_watch, open_detector
):
    artifact = Artifact.open(make_artifact())
    watch, detector = make_watch(artifact, None), open_detector(artifact)
    ruling = watch.at_start(detector, 0.0)
    assert ruling.detector is detector and ruling.result is None
    assert watch.alarms[0].startswith("parity cannot be watched")
    assert watch.in_idle_slot(detector, 1e9) is None


def test_another_driver_or_engine_is_told_from_the_one_before(
    make_watched, open_detector, tmp_path
):
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54\nGCC 12\n")
    detector = open_detector(make_watched())
    before = identity_of(detector, (tmp_path / "missing", driver))
    remember_identity(tmp_path / "engine.json", before)
    assert recall_identity(tmp_path / "engine.json") == before
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  560.35\n")
    detector.backend.engine_sha256 = "e" * 64
    after = identity_of(detector, (driver,))
    assert after.changes_from(before) == (
        "driver: NVRM version: NVIDIA UNIX x86_64 Kernel Module 550.54 ->"
        " NVRM version: NVIDIA UNIX x86_64 Kernel Module 560.35",
        f"engine: none -> {'e' * 64}",
    )
    assert set(after.versions) == {"onnxruntime", "numpy", "pillow", "zsad"}


def test_a_damaged_memory_is_the_first_day(tmp_path):
    path = tmp_path / "engine.json"
    assert recall_identity(path) is None
    path.write_text('{"schema": 1, "graph": 3}')
    assert recall_identity(path) is None


def test_a_change_is_named_at_the_next_start(make_watched, make_recipe, make_watch, open_detector):
    artifact = make_watched(precisions=("fp16", "fp32"))
    recipe = make_recipe(artifact, "fp16", "fp32")
    make_watch(artifact, recipe).at_start(open_detector(artifact, recipe, "fp16"), 0.0)
    ruling = make_watch(artifact, recipe).at_start(open_detector(artifact, recipe, "fp32"), 0.0)
    (change,) = ruling.changes
    assert change.reason.startswith(f"graph: {artifact.graph('fp16').sha256} -> ")
