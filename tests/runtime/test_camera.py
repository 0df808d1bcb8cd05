"""The state machine of a camera, driven by streams and a clock that are known by hand."""

import logging
import threading
import time

import numpy as np
import pytest
from scripted_camera import (
    IMAGE,
    FakeClock,
    HandFed,
    Script,
    feed,
    live_camera,
    path,
    run_script,
)
from waiting import wait_until

from zsad.backoff import BackoffConfig
from zsad.sources.camera import Camera
from zsad.sources.config import CameraConfig
from zsad.sources.health import Cause, SourceState
from zsad.sources.stream import Backing, Reading, StreamError


def test_every_state_has_its_cause():
    camera, script, _ = run_script(
        [
            [StreamError(Cause.AUTH, "password refused")],
            ["frame", "frame", StreamError(Cause.END_OF_FILE, "cut")],
            ["frame", 1.0, 1.5],
            ["bad", "bad", 3.0],
        ]
    )
    assert path(camera) == [
        ("connecting", None),
        ("backing off", "auth"),
        ("connecting", "auth"),
        ("live", None),
        ("backing off", "end-of-file"),
        ("connecting", "end-of-file"),
        ("live", None),
        ("stalled", "no-data"),
        ("backing off", "no-data"),
        ("connecting", "no-data"),
        ("stalled", "codec"),
        ("backing off", "codec"),
        ("connecting", "codec"),
        ("backing off", "refused"),
        ("ended", None),
    ]
    assert camera.health.state is SourceState.ENDED
    assert camera.health.reconnects == 2
    assert script.closed == 3
    counts = camera.health.counts
    assert counts.captured == 5 == counts.taken + sum(counts.dropped.values()) + counts.waiting
    assert counts.dropped["unreadable"] == 2


def test_waits_double_up_to_the_cap_and_are_drawn_between_half_and_whole():
    refusals = [[StreamError(Cause.REFUSED, "no")] for _ in range(12)]
    _, _, clock = run_script(refusals, backoff=BackoffConfig(first_s=0.5, cap_s=8.0))
    ceilings = [0.5, 1, 2, 4, 8, 8, 8, 8, 8, 8, 8, 8]
    for wait_s, ceiling_s in zip(clock.waits, ceilings, strict=False):
        assert ceiling_s / 2 <= wait_s <= ceiling_s
    assert len({round(w / c, 6) for w, c in zip(clock.waits, ceilings, strict=False)}) == 12


def test_a_connection_that_lived_begins_the_waits_anew_and_a_short_one_does_not():
    refused = [StreamError(Cause.REFUSED, "no")]
    lived = ["frame"] * 100  # ten seconds
    short = ["frame"]
    _, _, clock = run_script([refused] * 5 + [lived, short, short])
    assert clock.waits[4] >= 4
    assert clock.waits[5] <= 0.5
    assert clock.waits[6] >= 0.5 * 0.5
    assert clock.waits[7] >= 1.0


def test_a_stall_is_seen_while_the_read_hangs():
    release = threading.Event()

    class Hanging(Script):
        def read(self, timeout_s):
            if self.first:
                self.first = False
                return Reading(IMAGE, self.clock.now_s(), self.clock.now_s())
            self.hanging.set()
            release.wait(10)
            raise StreamError(Cause.NO_DATA, "time-out")

    clock = FakeClock()
    script = Hanging(clock, [["frame"]])
    script.first, script.hanging = True, threading.Event()
    camera = Camera(CameraConfig("cam", "rtsp://cam/1"), script, clock=clock)
    camera.start()
    assert script.hanging.wait(5)
    assert camera.health.state is SourceState.LIVE
    clock.time_s += 1.9
    assert camera.health.state is SourceState.LIVE
    clock.time_s += 0.2
    health = camera.health
    assert (health.state, health.cause) == (SourceState.STALLED, Cause.NO_DATA)
    assert health.age_s == pytest.approx(2.1)
    release.set()
    camera.close()


def test_an_unknown_rate_is_learnt_from_the_frames():
    # Ten frames, one a tenth of a second: the limit falls from 10 s to 2 s.
    clock = FakeClock()
    script = Script(clock, [["frame"] * 20 + [2.5, 2.5, 2.5, 2.5, 2.5]], rate_hz=None)
    camera = Camera(CameraConfig("cam", "rtsp://cam/1"), script, clock=clock)
    camera.start()
    assert clock.over.wait(10)
    wait_until(lambda: camera.health.cause is Cause.REFUSED)
    camera.close()
    stalled = [t for t in camera.transitions if t.state is SourceState.STALLED]
    assert stalled[0].detail == "no frame for 2.5 s"


def test_a_bug_in_the_thread_is_a_cause_with_its_traceback_and_without_the_password(caplog):
    boom = RuntimeError("no driver for rtsp://user:secret@cam/1")
    camera, _, _ = run_script([[boom], ["frame", boom]])
    assert [cause for _, cause in path(camera) if cause][:1] == ["failed"]
    assert "Traceback" in caplog.text
    assert "secret" not in caplog.text
    assert "rtsp://***@cam/1" in caplog.text


def test_a_source_that_stays_away_is_logged_once(caplog):
    caplog.set_level(logging.INFO)
    run_script([[StreamError(Cause.REFUSED, "no")] for _ in range(20)])
    lines = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert lines[0].getMessage().startswith("camera cam: backing off: refused: no: next attempt in")


def test_one_line_says_what_it_is_and_another_when_its_size_changes(caplog):
    caplog.set_level(logging.INFO)
    stream = HandFed()
    camera = live_camera(stream)
    feed(camera, stream)
    line = "hand, no decoder, 6x4, 0.01 Hz: a test"
    assert f"camera cam: {line}" in caplog.messages
    assert camera.health.opened_as == line
    small = np.zeros((2, 3, 3), np.uint8)
    stream.read = lambda timeout_s: Reading(small, time.monotonic(), time.monotonic())
    wait_until(
        lambda: "its frames were 6x4, no decoder, and now: hand, no decoder, 3x2" in caplog.text
    )
    camera.close()


def test_another_codec_after_a_reconnection_is_a_warning(caplog):
    caplog.set_level(logging.INFO)
    stream = HandFed()
    camera = live_camera(stream, backoff=BackoffConfig(0.01, 0.01))
    feed(camera, stream)
    for number, decoder in enumerate(("no decoder", "decoder h265"), 1):
        stream.backing = Backing("hand", decoder, "a test")
        stream.failure = StreamError(Cause.END_OF_FILE, "cut")
        stream.ready.release()
        wait_until(lambda n=number: camera.health.reconnects == n)
        feed(camera, stream)
    camera.close()
    warnings = [r.getMessage() for r in caplog.records if "its frames were" in r.getMessage()]
    assert warnings == [
        "camera cam: its frames were 6x4, no decoder, and now:"
        " hand, decoder h265, 6x4, 0.01 Hz: a test"
    ]


def test_a_camera_that_hangs_is_left_behind_within_two_seconds_and_only_once(caplog):
    release = threading.Event()
    hanging = threading.Semaphore(0)

    class Hanging(HandFed):
        def read(self, timeout_s):
            hanging.release()
            release.wait(30)
            raise StreamError(Cause.NO_DATA, "time-out")

    cameras = [live_camera(Hanging()) for _ in range(3)]
    # A thread that has not come to its read ends at once.
    assert all(hanging.acquire(timeout=10) for _ in cameras)
    thread = next(t for t in threading.enumerate() if t.name == "capture cam")
    begun_s = time.monotonic()
    for camera in cameras:
        camera.end()
    cameras[0].close()
    cameras[0].close()
    assert 1.5 < time.monotonic() - begun_s < 3.5
    assert caplog.text.count("left behind") == 1
    assert cameras[0].health.state is SourceState.ENDED
    release.set()
    for camera in cameras:
        camera.close()
    thread.join(5)
    assert not thread.is_alive()
    assert cameras[0].health.state is SourceState.ENDED


def test_no_thread_is_left_and_closing_twice_does_no_harm():
    before = threading.active_count()
    cameras = [live_camera(HandFed()) for _ in range(5)]
    assert {t.name for t in threading.enumerate()} >= {"capture cam"}
    for camera in cameras:
        camera.close()
        camera.close()
    assert threading.active_count() == before
