import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from zsad.line.accounts import Ticket
from zsad.line.config import LineConfig
from zsad.line.drift import DriftWatch
from zsad.line.evidence import Evidence
from zsad.line.judge import Identity, Taken, silent_view
from zsad.line.latency import Latencies
from zsad.line.monitor import Monitor
from zsad.line.recipes import read_recipes
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
def make_drift(recipe, tmp_path):
    """Return `make_drift(**config)`: a monitor and the watch that tells it."""
    write_recipe(tmp_path / "part.json", recipe)
    config = LineConfig(
        "press",
        "artifact",
        (CameraConfig("top", "rtsp://127.0.0.1:1"),),
        "ledger",
        recipe=str(tmp_path / "part.json"),
    )

    def make(**drift):
        monitor = Monitor("press", {}, Latencies())
        monitor.ready()
        return monitor, DriftWatch(config, read_recipes(config), DriftConfig(**drift), monitor)

    return make


@pytest.fixture
def evidence(recipe):
    """Return `evidence(frame, score)`: a frame of the camera `top`, judged."""
    known = sha256_of(recipe.calibrations[0])

    def make(frame, score, calibration=known):
        identity = Identity("artifact", "graph", "cpu", "graph", calibration=calibration)
        taken = Taken(Ticket(1, "top", frame.captured_s), frame, identity)
        return Evidence(replace(silent_view(taken, None), verdict="OK", score=score), taken)

    return make


@pytest.fixture
def watch(make_drift, evidence):
    """The monitor, and `see(score, times)`: triggered parts of that score, all of one look."""
    monitor, drift = make_drift(clear_after=10)
    picture = np.full((8, 12, 3), 9, np.uint8)

    def see(score, times=1, **judged):
        for part in range(times):
            frame = Frame("0", picture, None, time.monotonic(), trigger=str(part))
            noisy = None if score is None else float(score + RNG.normal(0, 0.02))
            drift.observe(evidence(frame, noisy, **judged))

    return monitor, see


FRAMES_A_PART = 30


def free_running(parts, score):
    """Frames and scores of a free-running camera at 30 Hz: each part stands for a second."""
    for part in range(parts):
        look = cv2.resize(RNG.uniform(40, 200, (6, 8)), (64, 48), interpolation=cv2.INTER_CUBIC)
        of_part = RNG.normal(score, 0.02)
        for number in range(part * FRAMES_A_PART, (part + 1) * FRAMES_A_PART):
            grey = np.clip(look + RNG.normal(0, 2, look.shape), 0, 255).astype(np.uint8)
            picture = np.repeat(grey[..., None], 3, axis=2)
            yield Frame(str(number), picture, None, number / 30), of_part + RNG.normal(0, 0.001)


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


def test_frames_of_a_part_before_a_free_running_camera_are_one_part(make_drift, evidence):
    for _ in range(3):
        monitor, drift = make_drift()
        for frame, score in free_running(200, 0.2):
            drift.observe(evidence(frame, score))
        assert monitor.status().alarms == ()
        for frame, score in free_running(40, 0.4):
            drift.observe(evidence(replace(frame, captured_s=frame.captured_s + 200), score))
        assert monitor.status().alarms, "40 parts beyond all good ones"


def test_parts_that_look_alike_are_told_apart_by_their_time(make_drift, evidence):
    alike = [replace(f, image_bgr=np.full((8, 12, 3), 9, np.uint8)) for f, _ in free_running(40, 0)]
    for part_s, is_told in ((None, False), (1.0, True)):
        monitor, drift = make_drift(part_s=part_s)
        for frame in alike:
            drift.observe(evidence(frame, 0.4))
        assert bool(monitor.status().alarms) is is_told
