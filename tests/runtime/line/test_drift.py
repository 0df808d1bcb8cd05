import time
from dataclasses import replace

import numpy as np
import pytest

from zsad.line.accounts import Ticket
from zsad.line.config import LineConfig
from zsad.line.drift import DriftWatch
from zsad.line.judge import Identity, Taken, silent_view
from zsad.line.latency import Latencies
from zsad.line.monitor import Monitor
from zsad.line.recorder import Evidence
from zsad.line.status import LineState
from zsad.recipe import write_recipe
from zsad.schema import sha256_of
from zsad.sources import CameraConfig, Frame
from zsad.watch.config import DriftConfig

RNG = np.random.default_rng(3)


@pytest.fixture
def recipe(make_artifact, make_recipe):
    """A recipe whose 59 good parts scored 0.2 or so."""
    found = make_recipe(make_artifact(), 0.5)
    scores = tuple(float(s) for s in RNG.normal(0.2, 0.02, 59))
    return replace(found, calibrations=(replace(found.calibrations[0], good_scores=scores),))


@pytest.fixture
def watch(recipe, tmp_path):
    """The monitor, and `see(score, times)`: parts of that score on the camera `top`."""
    write_recipe(tmp_path / "part.json", recipe)
    config = LineConfig(
        "press",
        "artifact",
        (CameraConfig("top", "rtsp://127.0.0.1:1"),),
        "ledger",
        recipe=str(tmp_path / "part.json"),
    )
    monitor = Monitor("press", {}, Latencies())
    monitor.ready()
    drift = DriftWatch(config, DriftConfig(clear_after=10), monitor)
    calibration = sha256_of(recipe.calibrations[0])

    def see(score, times=1, calibration=calibration):
        for _ in range(times):
            identity = Identity("artifact", "graph", "cpu", "graph", calibration=calibration)
            frame = Frame("0", np.full((8, 12, 3), 9, np.uint8), None, time.monotonic())
            taken = Taken(Ticket(1, "top", time.monotonic()), frame, identity)
            noisy = None if score is None else float(score + RNG.normal(0, 0.02))
            view = replace(silent_view(taken, None), verdict="OK", score=noisy)
            drift.observe(Evidence(view, taken))

    return monitor, see


def test_scores_that_rise_are_an_alarm_that_goes_when_they_fall_again(watch):
    monitor, see = watch
    see(0.2, 200)
    assert monitor.status().state is LineState.RUNNING
    see(0.4, 200)
    assert monitor.status().state is LineState.DEGRADED
    (alarm,) = monitor.status().alarms
    assert alarm.startswith("top: score drifted: score 0.")
    see(0.2, 400)
    assert monitor.status().alarms == ()
    assert monitor.status().state is LineState.RUNNING


def test_what_was_not_judged_by_a_calibration_says_nothing(watch):
    monitor, see = watch
    see(None, 200)
    see(0.9, 200, calibration=None)
    assert monitor.status().alarms == ()


def test_a_camera_that_is_judged_by_another_calibration_begins_anew(watch):
    monitor, see = watch
    see(0.4, 200)
    assert monitor.status().alarms
    see(0.4, 1, calibration="another")
    assert monitor.status().alarms == (), "no good parts are known of that one"
