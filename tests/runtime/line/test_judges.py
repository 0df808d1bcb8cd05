import time
from dataclasses import replace

import numpy as np
import onnx
import pytest
from judges_rig import verdicts
from onnx import numpy_helper

from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.backends.ort import OrtBackend
from zsad.errors import InferenceError, InputError
from zsad.line.status import LineState


def test_each_camera_has_its_own_threshold_on_the_one_engine(
    open_judges, artifact, make_recipe, monkeypatch
):
    recipes = {"top": make_recipe(artifact, 0.3), "side": make_recipe(artifact, 0.7)}
    judges, monitor, _ = open_judges(recipes)
    views = verdicts(judges, ("top", 128), ("side", 128), ("side", 204), ("top", 51))
    assert [view.verdict for view in views] == ["NG", "OK", "NG", "OK"]
    assert [view.threshold for view in views] == [0.3, 0.7, 0.7, 0.3]
    assert views[0].recipe != views[1].recipe
    assert "model.fp32.onnx on CPUExecutionProvider (cpu)" in monitor.status().backend


def test_threads_do_not_spin_where_the_line_says_so(open_judges, artifact, make_recipe):
    judges, _, _ = open_judges({"top": make_recipe(artifact, 0.3)}, spin=False)
    options = judges._detector.backend._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == 1


def test_a_camera_without_a_recipe_gives_scores(open_judges, artifact, make_recipe):
    judges, _, _ = open_judges({"top": make_recipe(artifact, 0.3)})
    top, side = verdicts(judges, ("top", 128), ("side", 128))
    assert (top.verdict, side.verdict) == ("NG", "UNCALIBRATED")
    assert side.score == pytest.approx(128 / 255, abs=1e-3)
    assert side.recipe is None


def test_a_recipe_that_does_not_cover_the_graph_is_no_result_and_degrades(
    open_judges, artifact, make_recipe
):
    recipes = {"top": make_recipe(artifact, 0.3), "side": make_recipe(artifact, 0.3, "fp16")}
    judges, monitor, _ = open_judges(recipes)
    top, side = verdicts(judges, ("top", 128), ("side", 128))
    assert (top.verdict, side.verdict) == ("NG", "NO_RESULT")
    assert "run zsad-calibrate" in side.reason
    assert monitor.status().state is LineState.DEGRADED
    assert monitor.status().reasons[0].startswith("side: the recipe was calibrated for other")


@pytest.mark.parametrize("first", ["top", "side"])
def test_the_graph_is_one_that_every_recipe_covers_whichever_camera_comes_first(
    open_judges, artifact, make_recipe, first
):
    second = {"top": "side", "side": "top"}[first]
    recipes = {first: both(artifact, make_recipe), second: make_recipe(artifact, 0.3, "fp16")}
    judges, monitor, _ = open_judges(recipes, precision=None)
    views = verdicts(judges, ("top", 128), ("side", 128))
    assert [view.verdict for view in views] == ["NG", "NG"]
    assert "model.fp16.onnx" in monitor.status().backend


@pytest.mark.parametrize("first", ["top", "side"])
def test_what_takes_over_serves_every_recipe_where_something_does(
    open_judges, artifact, make_recipe, monkeypatch, first
):
    second = {"top": "side", "side": "top"}[first]
    recipes = {first: both(artifact, make_recipe), second: make_recipe(artifact, 0.3, "fp16")}
    judges, monitor, _ = open_judges(recipes, precision="fp32", every_s=0.01)
    whole, backend = OrtBackend.infer, judges._detector.backend

    def drifted(self, feeds):
        factor = np.float32(0.5 if self is backend else 1.0)
        return {name: values * factor for name, values in whole(self, feeds).items()}

    monkeypatch.setattr(OrtBackend, "infer", drifted)
    until_s = time.monotonic() + 10
    while judges._detector.backend is backend and time.monotonic() < until_s:
        judges.check()
    views = verdicts(judges, ("top", 128), ("side", 128))
    assert [view.verdict for view in views] == ["NG", "NG"]
    assert "model.fp16.onnx" in monitor.status().backend, "fp32 elsewhere serves one camera alone"


def test_a_camera_that_what_took_over_does_not_serve_has_no_result_and_is_named(
    open_judges, artifact, make_recipe, reseal
):
    break_graph(artifact, reseal)
    recipes = {
        "top": make_recipe(artifact, 0.3, "fp32"),
        "side": make_recipe(artifact, 0.3, "fp16"),
    }
    judges, monitor, _ = open_judges(recipes)
    top, side = verdicts(judges, ("top", 128), ("side", 128))
    assert (top.verdict, side.verdict) == ("NO_RESULT", "NG")
    assert "run zsad-calibrate" in top.reason
    assert any(reason.startswith("top: the recipe") for reason in monitor.status().reasons)


def break_graph(path, reseal, factor=10.0):
    file = path / "model.fp32.onnx"
    model = onnx.load(file)
    scale = next(each for each in model.graph.initializer if each.name == "scale")
    scale.CopyFrom(
        numpy_helper.from_array(np.float32(numpy_helper.to_array(scale) * factor), "scale")
    )
    onnx.save(model, file)
    reseal(path)


def both(path, make_recipe):
    one, other = make_recipe(path, 0.3, "fp32"), make_recipe(path, 0.3, "fp16")
    return replace(one, calibrations=(*one.calibrations, *other.calibrations))


def test_a_graph_that_is_out_of_parity_gives_way_to_one_that_the_recipe_covers(
    open_judges, artifact, make_recipe, reseal
):
    break_graph(artifact, reseal)
    judges, monitor, changes = open_judges({"top": both(artifact, make_recipe)})
    (top,) = verdicts(judges, ("top", 128))
    assert top.verdict == "NG"
    assert top.score == pytest.approx(128 / 255, abs=1e-3), "not ten times it, clipped"
    assert top.graph == Artifact.open(artifact).graph("fp16").sha256
    assert "model.fp16.onnx" in monitor.status().backend
    assert monitor.status().state is LineState.DEGRADED
    assert "fp32 on cpu is out of parity" in monitor.status().alarms[0]
    assert "out of parity" in changes[0].reason


def test_without_anything_in_parity_all_is_no_result_and_the_line_in_fault(
    open_judges, artifact, make_recipe, reseal
):
    break_graph(artifact, reseal)
    judges, monitor, changes = open_judges({"top": both(artifact, make_recipe)}, fall_back=False)
    top, side = verdicts(judges, ("top", 128), ("side", 128))
    assert (top.verdict, side.verdict) == ("NO_RESULT", "NO_RESULT")
    assert "out of parity" in top.reason
    assert monitor.status().state is LineState.FAULT
    assert changes[0].after == "none"
    judges.check()
    assert judges.is_well(), "the thread lives, and says so; the fault is told by the state"


def test_an_engine_that_changes_while_the_line_runs_is_caught_in_an_idle_slot(
    open_judges, artifact, make_recipe, monkeypatch
):
    judges, monitor, _ = open_judges(
        {"top": both(artifact, make_recipe)}, every_s=0.01, fall_back=False
    )
    assert monitor.status().state is LineState.RUNNING
    whole = OrtBackend.infer

    def drifted(self, feeds):
        return {name: values * np.float32(0.5) for name, values in whole(self, feeds).items()}

    monkeypatch.setattr(OrtBackend, "infer", drifted)
    time.sleep(0.02)
    for _ in range(3):  # a frame per slot, and three golden frames
        judges.check()
    assert monitor.status().state is LineState.FAULT
    assert verdicts(judges, ("top", 51))[0].verdict == "NO_RESULT"


def test_a_line_that_is_never_idle_is_replayed_all_the_same(
    open_judges, artifact, make_recipe, monkeypatch
):
    judges, monitor, _ = open_judges(
        {"top": both(artifact, make_recipe)}, every_s=0.01, fall_back=False
    )
    whole = OrtBackend.infer

    def drifted(self, feeds):
        return {name: values * np.float32(0.5) for name, values in whole(self, feeds).items()}

    monkeypatch.setattr(OrtBackend, "infer", drifted)
    until_s = time.monotonic() + 10
    while monitor.status().state is not LineState.FAULT and time.monotonic() < until_s:
        verdicts(judges, ("top", 51))
    assert monitor.status().state is LineState.FAULT


def test_a_breach_is_a_fault_from_before_a_successor_is_opened_until_everybody_saw_it(
    open_judges, artifact, make_recipe, monkeypatch, doubts
):
    judges, monitor, changes = open_judges({"top": both(artifact, make_recipe)}, every_s=0.01)
    assert monitor.status().state is LineState.RUNNING
    whole, load, states = OrtBackend.infer, open_backend, []

    def drifted(self, feeds):
        factor = np.float32(0.5 if self.precision == "fp32" else 1.0)
        return {name: values * factor for name, values in whole(self, feeds).items()}

    def watched(*arguments):
        states.append((monitor.status().state, len(doubts)))
        return load(*arguments)

    monkeypatch.setattr(OrtBackend, "infer", drifted)
    monkeypatch.setattr("zsad.line.judges.open_backend", watched)
    until_s = time.monotonic() + 10
    while not changes and time.monotonic() < until_s:
        (last,) = verdicts(judges, ("top", 51))
    assert set(states) == {(LineState.FAULT, 1)}, "nothing that it said is told meanwhile"
    assert "fp32 on cpu is out of parity" in doubts[0]
    assert last.verdict == "NO_RESULT", "the engine that was ruled out had judged it"
    assert "fp32 on cpu is out of parity" in last.reason
    assert monitor.status().state is LineState.FAULT, "its earlier verdicts expire everywhere"
    while monitor.status().state is LineState.FAULT and time.monotonic() < until_s:
        judges.check()
    assert monitor.status().state is LineState.DEGRADED
    assert verdicts(judges, ("top", 51))[0].verdict == "OK"
    assert "model.fp32.onnx on CPUExecutionProvider" not in monitor.status().backend


def test_an_engine_that_fails_is_a_fault_until_it_answers(
    open_judges, artifact, make_recipe, monkeypatch
):
    judges, monitor, _ = open_judges({"top": make_recipe(artifact, 0.3)}, every_s=0)

    def fail(self, feeds):
        raise InferenceError("the device is gone")

    whole = OrtBackend.infer
    with monkeypatch.context() as patch:
        patch.setattr(
            OrtBackend,
            "infer",
            lambda s, feeds: (fail if feeds["image"].any() else whole)(s, feeds),
        )
        assert verdicts(judges, ("top", 51))[0].verdict == "NO_RESULT"
        assert judges.is_well(), "it failed on that frame alone"
        assert monitor.status().state is LineState.RUNNING
    with monkeypatch.context() as patch:
        patch.setattr(OrtBackend, "infer", fail)
        assert verdicts(judges, ("top", 51))[0].reason == "the device is gone"
        assert monitor.status().reasons == ("the engine fails: the device is gone",)
        assert not judges.is_well()
    judges.check()
    assert judges.is_well()
    assert monitor.status().state is LineState.RUNNING


def test_what_an_engine_fails_with_is_recorded_without_credentials(
    open_judges, artifact, make_recipe, monkeypatch
):
    """As one would that keeps its plans on a server."""
    judges, monitor, _ = open_judges({"top": make_recipe(artifact, 0.3)}, every_s=0)

    def fail(self, feeds):
        raise InferenceError("no plan at https://op:secret@cache/x,\n token=secret")

    monkeypatch.setattr(OrtBackend, "infer", fail)
    (view,) = verdicts(judges, ("top", 51))
    assert view.reason == "no plan at https://***@cache/x, token=***"
    assert "secret" not in str(monitor.status().reasons)


def test_an_engine_that_answers_with_what_is_not_a_number_is_a_fault(
    open_judges, artifact, make_recipe, monkeypatch
):
    judges, monitor, _ = open_judges({"top": make_recipe(artifact, 0.3)}, every_s=0)
    whole = OrtBackend.infer
    for broken in ("anomaly_map", "score"):

        def infer(self, feeds, broken=broken):
            answer = whole(self, feeds)
            return {**answer, broken: np.full_like(answer[broken], np.nan)}

        with monkeypatch.context() as patch:
            patch.setattr(OrtBackend, "infer", infer)
            judges.check()
            assert not judges.is_well(), broken
            assert "not a number" in monitor.status().reasons[0]
        judges.check()
        assert judges.is_well()
        with monkeypatch.context() as patch:  # a line that is never idle
            patch.setattr(OrtBackend, "infer", infer)
            assert verdicts(judges, ("top", 51))[0].verdict == "NO_RESULT"
            assert not judges.is_well(), broken
        judges.check()
        assert judges.is_well()
        assert monitor.status().state is LineState.RUNNING


def test_an_artifact_that_is_not_there_is_an_input_error(open_judges, artifact):
    (artifact / "manifest.json").unlink()
    with pytest.raises(InputError):
        open_judges({})
