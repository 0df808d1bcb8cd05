import dataclasses
import json

import numpy as np
import pytest
from made_scenes import Camera, reference_of

from zsad.errors import InputError
from zsad.recipe import Bound, Calibration
from zsad.schema import from_json, to_json
from zsad.watch.appearance import DriftReference, appearance_of
from zsad.watch.config import DriftConfig, ReplayConfig, Tolerances
from zsad.watch.drift import DriftMonitor

GOOD = 100


@pytest.fixture(scope="module")
def reference():
    camera = Camera()
    return reference_of(camera.frame() for _ in range(GOOD))


@pytest.fixture(scope="module")
def calibration():
    camera = Camera()
    scores = tuple(sorted(camera.score() for _ in range(GOOD)))
    return Calibration("g" * 64, "graph", 0.5, Bound(0.05, 0.95, GOOD), scores)


@pytest.fixture
def make_monitor(reference, calibration):
    return lambda **config: DriftMonitor(DriftConfig(**config), calibration, reference)


PLANTED = {
    "brighter": ("exposure", {"gain": 1.15}, 0.0),
    "darker": ("exposure", {"gain": 0.85}, 0.0),
    "blinding": ("exposure", {"gain": 1.7}, 0.0),
    "defocus": ("focus", {"blur": 1.5}, 0.0),
    "shifted right": ("position", {"shift": (6, 0)}, 0.0),
    "shifted up and left": ("position", {"shift": (-5, -4)}, 0.0),
    "higher scores": ("score", {}, 0.1),
    "lower scores": ("score", {}, -0.08),
}


@pytest.mark.parametrize("name", PLANTED)
def test_each_drift_raises_its_own_alarm_and_no_other(make_monitor, name):
    kind, planted, score_shift = PLANTED[name]
    monitor, camera, raised = make_monitor(), Camera(), set()
    for _ in range(100):
        assert monitor.observe(camera.frame(), camera.score()) == ()
    for part in range(60):
        for alarm in monitor.observe(camera.frame(**planted), camera.score(score_shift)):
            raised.add(alarm)
            assert part >= 3, "no single part raises an alarm"
    (alarm,) = raised
    assert alarm.kind == kind and 104 <= alarm.part <= 160
    assert alarm.describe().startswith(f"{kind} drifted: ")


def test_an_alarm_goes_off_by_itself_and_nothing_was_moved(make_monitor, reference, calibration):
    monitor, camera = make_monitor(clear_after=30), Camera()
    before = (to_json(reference), to_json(calibration))
    for _ in range(40):
        monitor.observe(camera.frame(gain=1.2), camera.score())
    assert [alarm.kind for alarm in monitor.alarms] == ["exposure"]
    for _ in range(60):
        monitor.observe(camera.frame(), camera.score())
    assert monitor.alarms == ()
    assert (to_json(reference), to_json(calibration)) == before


def test_ten_thousand_parts_in_control_alarm_no_more_often_than_stated(make_monitor):
    camera, rate, parts = Camera(), 1000, 10_000
    pool = [camera.frame() for _ in range(1000)]
    monitor, alarms, before = make_monitor(parts_per_false_alarm=rate), 0, ()
    for _ in range(parts):
        now = monitor.observe(pool[camera.rng.integers(len(pool))], camera.score())
        alarms += len(set(now) - set(before))
        before = now
    assert alarms <= parts / rate


def test_a_part_without_a_score_is_watched_by_its_picture_alone(make_monitor):
    monitor, camera = make_monitor(), Camera()
    for _ in range(40):
        monitor.observe(camera.frame(gain=1.2), None)
        monitor.observe(camera.frame(gain=1.2), float("nan"))
    assert [alarm.kind for alarm in monitor.alarms] == ["exposure"]


def test_good_parts_from_bursts_are_told_by_one_frame_each(reference):
    # The highest of a burst of ten lies above nearly every single frame to come.
    rng, drifted = np.random.default_rng(5), []
    bursts = np.clip(rng.normal(0.2, 0.02, (GOOD, 10)), 0, 1)
    calibration = Calibration(
        "g" * 64,
        "graph",
        0.5,
        Bound(0.05, 0.95, GOOD),
        tuple(map(float, bursts.max(axis=1))),
        first_scores=tuple(map(float, bursts[:, 0])),
    )
    frame = Camera().frame()
    for _ in range(5):
        monitor = DriftMonitor(DriftConfig(), calibration, None)
        drifted += [monitor.observe(frame, float(rng.normal(0.2, 0.02))) for _ in range(300)]
    assert not any(drifted)


def test_some_defects_are_no_drift(make_monitor):
    monitor, camera = make_monitor(), Camera()
    for part in range(500):
        monitor.observe(camera.frame(), 0.9 if part % 5 == 0 else camera.score())
    assert monitor.alarms == ()


def test_what_cannot_be_watched_is_said(reference, calibration):
    few = dataclasses.replace(calibration, good_scores=(0.1,) * 19)
    config = DriftConfig()
    assert DriftMonitor(config, calibration, reference).unwatched == ()
    assert len(DriftMonitor(config, None, None).unwatched) == 2
    (line,) = DriftMonitor(config, few, reference).unwatched
    assert line == "drift of scores: 19 good parts where 20 are wanted: run zsad-calibrate"


def test_gain_and_offset_are_no_defocus_and_blur_is():
    frame = Camera().frame()
    sharp = appearance_of(frame).sharpness
    dimmed = (frame * 0.7 + 20).astype(np.uint8)
    assert appearance_of(dimmed).sharpness == pytest.approx(sharp, abs=0.1)
    assert appearance_of(Camera().frame(blur=1.0)).sharpness < sharp - 0.3


@pytest.mark.parametrize("hw", [(1, 1), (2, 3), (64, 64), (500, 31)])
def test_a_flat_frame_of_any_size_has_a_look(hw):
    found = appearance_of(np.full((*hw, 3), 77, np.uint8))
    assert (found.level, found.saturation, found.sharpness) == (77.0, 0.0, 0.0)
    assert appearance_of(np.full((*hw, 3), 255, np.uint8)).saturation == 1.0


def test_a_frame_that_is_a_view_of_another_looks_like_its_copy():
    flipped = Camera().frame()[::-1, ::-1]
    assert appearance_of(flipped).level == appearance_of(flipped.copy()).level


def test_a_shift_is_measured_as_a_share_of_the_frame(reference):
    camera = Camera()
    found = [reference.offset(appearance_of(camera.frame(shift=(8, 0))).picture) for _ in range(20)]
    assert np.median(found) == pytest.approx(8 / 160, abs=0.01)
    assert np.median(reference.offsets) < 0.01


def test_a_reference_survives_json(reference):
    text = json.dumps(to_json(reference))
    assert from_json(DriftReference, json.loads(text), "recipe") == reference
    assert len(text) < 20_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"picture": "AAAA"}, "picture is damaged"),
        ({"picture": "not base64"}, "picture is damaged"),
        ({"offsets": (0.0,)}, "1 offsets where 20"),
        ({"levels": (float("nan"),) * GOOD}, "levels that are no numbers"),
    ],
)
def test_a_damaged_reference_is_one_line(reference, change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(reference, **change)


def test_too_few_good_parts_make_no_reference():
    camera = Camera()
    assert reference_of(camera.frame() for _ in range(19)) is None
    assert reference_of(camera.frame() for _ in range(20)) is not None


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ReplayConfig, {"every_s": -1.0}),
        (ReplayConfig, {"every_s": float("nan")}),
        (Tolerances, {"level": -1.0}),
        (DriftConfig, {"parts_per_false_alarm": 0}),
        (DriftConfig, {"confidence": 1.0}),
        (DriftConfig, {"clear_after": 0}),
        (DriftConfig, {"part_s": 0.0}),
    ],
)
def test_a_value_that_means_nothing_is_refused(kind, values):
    with pytest.raises(InputError, match=f"watch: .*{next(iter(values))}"):
        kind(**values)
