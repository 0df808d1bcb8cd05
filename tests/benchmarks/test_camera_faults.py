"""Faults of cameras, each put into a camera that runs in a process of its own."""

import json
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from fake_camera import jpeg, picture, stamp_of

from camera_faults import main
from fault_cameras import fake_camera
from fault_injection import Limits, inject
from fault_scenarios import SCENARIOS
from zsad.sources import BackoffConfig, CameraConfig, open_camera
from zsad.sources.health import SourceState

PROGRAMS = {
    "gst-rtsp": ("gst-launch-1.0",),
    "gst-launch": ("gst-launch-1.0",),
    "genicam": ("arv-fake-gv-camera-0.8",),
}
SLOW = {
    "rtsp: accepts and never answers",
    "rtsp: answers, then sends nothing",
    "rtsp: byte after byte",
    "rtsp: ends the stream in good order",
    "rtsp: has no such stream any more",
    "rtsp: sends twice the rate",
    "rtsp isolated: accepts and never answers",
    "gst-rtsp: the process hangs",
    "rtsp: sends half pictures",
    "rtsp: stalls",
    "rtsp: offers a codec that nobody knows",
    "rtsp: time stamps jump back",
    "rtsp: resets every connection",
    "gst-rtsp: changes its size",
    "gst-rtsp: cuts every client",
    "gst-launch: cuts every client",
    "http: byte after byte",
    "http: answers, then sends nothing",
    "genicam: is unplugged",
}


@pytest.fixture(autouse=True)
def no_words_of_opencv(monkeypatch):
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "ERROR")


def known_pixels(camera):
    """Return the exact pixels that a camera's frames must have; None where nobody knows them."""
    if camera == "rtsp":
        return picture()
    if camera == "http":
        return cv2.imdecode(np.frombuffer(jpeg(), np.uint8), cv2.IMREAD_COLOR)
    return None


def marked(scenario):
    marks = [pytest.mark.slow] if scenario.name in SLOW else []
    if programs := PROGRAMS.get(scenario.camera):
        marks.append(pytest.mark.system(*programs))
    return pytest.param(scenario, marks=marks, id=scenario.name)


@pytest.mark.parametrize("scenario", [marked(scenario) for scenario in SCENARIOS])
def test_a_fault_has_its_cause_and_is_over_when_it_is_over(scenario):
    expected, judged = known_pixels(scenario.camera), []
    # FFmpeg looks at a stream for more than a second before it is open.
    limits = Limits(open_timeout_s=1.5 if scenario.camera == "http" else 3.0)

    def judge(frame):
        image = frame.image_bgr
        judged.append(image)
        assert image.dtype == np.uint8
        # Before the fault and after it: the same size, the same colours, bit for bit.
        assert "size" in scenario.fault or image.shape == judged[0].shape
        assert "size" in scenario.fault or expected is None or np.array_equal(image, expected)

    outcome = inject(scenario, judge, limits)
    assert len(judged) == 2
    assert (outcome.cause is not None) == bool(scenario.causes)
    if scenario.causes:
        assert outcome.states[-1] == "live"
        assert outcome.detect_s < 2.5
        assert outcome.cause_s < 10
    else:
        assert outcome.states == ()
    assert outcome.recover_s < 8
    # Fewer than before the fault are those of other tests, let go of in the meantime.
    assert max(outcome.threads_left, outcome.descriptors_left, outcome.children_left) <= 0
    assert outcome.accounts_hold


def ages_at_verdict(seconds, engine_s=0.1):
    """Judge a 30 Hz camera with an engine of 10 Hz.

    Returns each frame's true age at its verdict, and how long the engine really took over it.
    """
    camera_process = fake_camera("rtsp", "--rate-hz", "30", "--stamped")
    camera = open_camera(CameraConfig("cam", f"rtsp://127.0.0.1:{camera_process.port}/live"))
    camera.start()
    ages_s, engines_s = [], []
    try:
        deadline_s = time.monotonic() + 20
        while not (frame := camera.take()):
            assert time.monotonic() < deadline_s
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            if (frame := camera.take()) is None:
                time.sleep(0.002)
                continue
            begun_s = time.monotonic()
            time.sleep(engine_s)
            ages_s.append(time.monotonic() - stamp_of(frame.image_bgr))
            engines_s.append(time.monotonic() - begun_s)
        counts = camera.health.counts
    finally:
        camera.close()
        camera_process.close()
    assert counts.captured == counts.taken + sum(counts.dropped.values()) + counts.waiting
    assert counts.dropped["displaced"] > counts.taken
    return np.array(ages_s), np.array(engines_s)


@contextmanager
def bystander():
    """Gives how late this machine wakes a thread that only sleeps, in seconds."""
    late_s, done = [], threading.Event()

    def sleep():
        while not done.is_set():
            begun_s = time.monotonic()
            time.sleep(0.01)
            late_s.append(time.monotonic() - begun_s - 0.01)

    thread = threading.Thread(target=sleep, name="bystander")
    thread.start()
    try:
        yield late_s
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("seconds", [4, pytest.param(180, marks=pytest.mark.slow)])
def test_a_slow_engine_on_a_fast_camera_judges_fresh_frames_for_as_long_as_it_runs(seconds):
    with bystander() as late_s:
        ages_s, engines_s = ages_at_verdict(seconds)
    assert len(ages_s) > 7 * seconds
    # One period of the engine and 100 ms, and what a busy machine adds to any thread's sleep.
    assert np.percentile(ages_s - engines_s, 99) < 0.1 + np.percentile(late_s, 99)
    print(f"age p50 {np.median(ages_s):.3f} s, p99 {np.percentile(ages_s, 99):.3f} s")
    half = len(ages_s) // 2
    # A frame waits for the engine up to one period of the camera, slowly more and less in turn as
    # the two rates drift past each other. A backlog would add two thirds of a second each second.
    assert np.median(ages_s[half:]) < np.median(ages_s[:half]) + 1 / 30 + 0.02


def resident_mb():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "times"), [("http", 200), ("rtsp", 40)])
def test_memory_does_not_grow_with_the_number_of_reconnects(protocol, times):
    process = fake_camera(protocol)
    config = CameraConfig(
        "cam", f"{protocol}://127.0.0.1:{process.port}/live", backoff=BackoffConfig(0.01, 0.02)
    )
    camera = open_camera(config)
    camera.start()
    memory_mb = []
    for count in range(times):
        deadline_s = time.monotonic() + 20
        while camera.health.reconnects < count or camera.health.state is not SourceState.LIVE:
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        process.obey("reset")
        while camera.health.state is SourceState.LIVE:
            assert time.monotonic() < deadline_s
            time.sleep(0.002)
        process.obey("none")
        memory_mb.append(resident_mb())
    camera.close()
    process.close()
    assert memory_mb[-1] - memory_mb[times // 10] < 5


def test_the_benchmark_prints_its_table_and_writes_its_figures(make_artifact, tmp_path):
    words = [str(make_artifact()), "--only", "http: changes", "--json", str(tmp_path / "a.json")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("| http: changes its size | stays live | - | - |")
    figures = json.loads((tmp_path / "a.json").read_text())
    assert figures["judged"]
    assert figures["failures"] == []
    assert os.uname().nodename not in json.dumps(figures["faults"])
