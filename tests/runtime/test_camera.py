"""The state machine of a camera, driven by streams and a clock that are known by hand."""

import itertools
import logging
import random
import threading
import time

import numpy as np
import pytest

from zsad.backoff import BackoffConfig
from zsad.sources.camera import Camera
from zsad.sources.config import CameraConfig, ControlsConfig
from zsad.sources.health import Cause, SourceState
from zsad.sources.stream import Backing, Reading, StreamError
from zsad.sources.trigger import TriggerGate

IMAGE = np.zeros((4, 6, 3), np.uint8)


class FakeClock:
    """Moves only when somebody waits or a stream says so."""

    def __init__(self):
        self.time_s = 1000.0
        self.waits = []
        self.over = threading.Event()

    def now_s(self):
        return self.time_s

    def wait(self, event, timeout_s):
        if self.over.is_set():
            return event.wait(10)
        self.waits.append(timeout_s)
        self.time_s += timeout_s
        return event.is_set()


class Script:
    """An opener and its streams: each connection is a list of steps, then `last` for ever."""

    def __init__(self, clock, connections, paced=True, rate_hz=10.0):
        self.clock, self.connections = clock, connections
        self.paced, self.rate_hz = paced, rate_hz
        self.backing = Backing("script", "none", "a test")
        self.opened = self.closed = 0

    def open(self, closing):
        self.opened += 1
        if self.opened > len(self.connections):
            self.clock.over.set()
            raise StreamError(Cause.REFUSED, "the script is over")
        self.steps = iter(self.connections[self.opened - 1])
        first = next(self.steps)
        if isinstance(first, Exception):
            raise first
        self.steps = itertools.chain([first], self.steps)
        return self

    def read(self, timeout_s):
        step = next(self.steps, None)
        if step is None:
            raise StreamError(Cause.END_OF_FILE, "no step is left")
        if isinstance(step, Exception):
            raise step
        self.clock.time_s += step if isinstance(step, float) else 0.1
        now_s = self.clock.now_s()
        if isinstance(step, float):
            return None
        if step == "bad":
            return Reading(None, now_s, now_s, "half a picture")
        return Reading(IMAGE, now_s, now_s)

    def interrupt(self):
        pass

    def close(self):
        self.closed += 1


def wait_for(condition, deadline_s=5.0):
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.005)


def run_script(connections, paced=True, **options):
    """Run a camera until its script is over; return camera, script and clock."""
    clock = FakeClock()
    script = Script(clock, connections, paced)
    config = CameraConfig("cam", "rtsp://user:secret@cam/1", **options)
    camera = Camera(config, script, clock=clock, random_numbers=random.Random(7))
    camera.start()
    assert clock.over.wait(10)
    wait_for(lambda: camera.health.cause is Cause.REFUSED)
    camera.close()
    return camera, script, clock


def path(camera):
    return [(t.state.value, t.cause and t.cause.value) for t in camera.transitions]


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


@pytest.mark.parametrize(
    ("rate_hz", "stall_s", "limit_s"),
    [(30.0, None, 2.0), (10.0, None, 2.0), (1.0, None, 20.0), (None, None, 10.0), (1.0, 3.0, 3.0)],
)
def test_the_stall_limit_scales_with_the_rate(rate_hz, stall_s, limit_s):
    config = CameraConfig("cam", "rtsp://cam/1", stall_s=stall_s)
    assert config.stall_limit_s(rate_hz) == limit_s


def test_a_read_may_block_for_as_long_as_silence_is_borne():
    assert CameraConfig("cam", "rtsp://cam/1").patience_s == 5
    assert CameraConfig("cam", "rtsp://cam/1", stall_s=0.5).patience_s == 0.5
    assert CameraConfig("cam", "rtsp://cam/1", stall_s=60.0).patience_s == 60


@pytest.mark.parametrize(
    ("source", "isolate", "isolated"),
    [
        ("rtsp://cam/1", None, True),
        ("udp://239.0.0.1:5000", None, True),
        ("rtsp://cam/1", False, False),
        ("http://cam/1", None, False),
        ("/dev/v4l/by-id/cam", None, False),
        ("/dev/v4l/by-id/cam", True, True),
        ("genicam:x", True, False),
    ],
)
def test_what_can_hold_others_up_is_isolated(source, isolate, isolated):
    assert CameraConfig("cam", source, isolate=isolate).isolated is isolated


def test_an_unknown_rate_is_learnt_from_the_frames():
    # Ten frames, one a tenth of a second: the limit falls from 10 s to 2 s.
    clock = FakeClock()
    script = Script(clock, [["frame"] * 20 + [2.5, 2.5, 2.5, 2.5, 2.5]], rate_hz=None)
    camera = Camera(CameraConfig("cam", "rtsp://cam/1"), script, clock=clock)
    camera.start()
    assert clock.over.wait(10)
    wait_for(lambda: camera.health.cause is Cause.REFUSED)
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


def live_camera(script, **options):
    """A camera over endless frames that the test hands out one by one."""
    camera = Camera(CameraConfig("cam", "rtsp://cam/1", **options), script)
    camera.start()
    return camera


class HandFed:
    """A stream that gives a frame whenever the test says so."""

    paced, rate_hz, backing = True, 0.01, Backing("hand", "no decoder", "a test")

    def __init__(self, clock=None):
        self.ready = threading.Semaphore(0)
        self.failure = None
        self.now_s = clock.now_s if clock else time.monotonic

    def open(self, closing):
        return self

    def read(self, timeout_s):
        if not self.ready.acquire(timeout=0.05):
            return None
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        now_s = self.now_s()
        return Reading(IMAGE, now_s, now_s)

    def interrupt(self):
        pass

    def close(self):
        pass


def feed(camera, stream, count=1):
    captured = camera.health.counts.captured
    for number in range(count):
        stream.ready.release()
        wait_for(lambda n=number: camera.health.counts.captured == captured + n + 1)


def test_each_trigger_gets_the_first_frame_after_it_and_no_other_frame_is_judged():
    stream = HandFed()
    camera = live_camera(stream, trigger="software", policy="every")
    assert not camera.trigger("too early")
    feed(camera, stream, 2)
    assert camera.trigger("a")
    assert camera.trigger("b")
    feed(camera, stream, 3)
    frames = [camera.take() for _ in range(3)]
    assert [(f.trigger, f.number) for f in frames[:2]] == [("a", 2), ("b", 3)]
    assert frames[2] is None
    assert camera.health.counts.dropped == {"untriggered": 3}
    camera.close()


def test_a_frame_that_may_be_older_than_its_trigger_does_not_answer_it():
    gate = TriggerGate("software", 1, delay_s=0.3)
    assert gate.trigger("a", 10.0, 2)
    assert gate.trigger("b", 10.1, 2)
    arrivals_s = (9.9, 10.0, 10.2, 10.35, 10.38, 10.5)
    admitted = [gate.admit(each) for each in arrivals_s]
    assert [each.trigger for each in admitted] == [None, None, None, "a", None, "b"]
    assert {each.reason for each in admitted} == {None, "untriggered"}


def test_a_camera_leaves_out_the_frames_that_were_under_way_when_it_was_triggered():
    clock = FakeClock()
    stream = HandFed(clock)
    config = CameraConfig("cam", "rtsp://cam/1", trigger="software", trigger_delay_ms=250)
    camera = Camera(config, stream, clock=clock)
    camera.start()
    feed(camera, stream)
    assert camera.trigger("a")
    for _ in range(4):
        clock.time_s += 0.1
        feed(camera, stream)
    frame = camera.take()
    assert (frame.trigger, frame.number, camera.take()) == ("a", 3, None)
    camera.close()


def test_no_more_triggers_wait_than_the_queue_holds():
    stream = HandFed()
    camera = live_camera(stream, trigger="software", policy="every", queue=2)
    feed(camera, stream)
    assert [camera.trigger(str(n)) for n in range(3)] == [True, True, False]
    camera.close()


def test_triggers_die_with_the_connection(caplog):
    stream = HandFed()
    camera = live_camera(stream, trigger="software", backoff=BackoffConfig(0.01, 0.01))
    feed(camera, stream)
    assert camera.trigger("part-7")
    stream.failure = StreamError(Cause.END_OF_FILE, "cut")
    stream.ready.release()
    wait_for(lambda: camera.health.reconnects == 1)
    feed(camera, stream)
    assert camera.take() is None
    assert "lost before their frame: part-7" in caplog.text
    camera.close()


class OnDemand(HandFed):
    """A stream whose camera takes a frame when it is fired; the test says what comes of it."""

    paced, rate_hz = False, None

    def __init__(self):
        super().__init__()
        self.fired = 0
        self.lost = False

    def fire(self):
        self.fired += 1

    def read(self, timeout_s):
        reading = super().read(timeout_s)
        if reading is None or not self.lost:
            return reading
        return Reading(None, reading.captured_s, reading.decoded_s, "incomplete")


def test_an_answer_that_is_incomplete_is_its_own_trigger_s_and_no_other_s():
    stream = OnDemand()
    camera = live_camera(stream, trigger="software")
    wait_for(lambda: camera.trigger("a"))
    assert not camera.trigger("b"), "the camera has not answered yet"
    stream.lost = True
    feed(camera, stream)
    frame = camera.take()
    assert (frame.trigger, frame.image_bgr, frame.error) == ("a", None, "incomplete")
    stream.lost = False
    assert camera.trigger("b")
    feed(camera, stream)
    assert camera.take().trigger == "b"
    assert stream.fired == 2
    camera.close()


def test_silence_without_a_trigger_is_no_fault():
    stream = OnDemand()
    camera = live_camera(stream, trigger="software", stall_s=0.1)
    wait_for(lambda: camera.health.state is SourceState.LIVE)
    time.sleep(0.4)
    assert (camera.health.state, camera.health.reconnects) == (SourceState.LIVE, 0)
    camera.close()


def test_a_trigger_that_is_never_answered_is_given_up_with_the_connection(caplog):
    stream = OnDemand()
    camera = live_camera(stream, trigger="software", stall_s=0.3, backoff=BackoffConfig(0.01, 0.01))
    wait_for(lambda: camera.trigger("a"))
    wait_for(lambda: camera.health.reconnects == 1)
    assert "lost before their frame: a" in caplog.text
    wait_for(lambda: camera.trigger("b"))
    feed(camera, stream)
    assert camera.take().trigger == "b"
    camera.close()


def test_every_third_frame():
    stream = HandFed()
    camera = live_camera(stream, trigger="every-n", every_n=3, policy="every")
    feed(camera, stream, 7)
    assert [f.number for f in iter(camera.take, None)] == [0, 3, 6]
    assert camera.health.counts.dropped == {"skipped": 4}
    camera.close()


def test_a_free_running_camera_takes_no_trigger():
    stream = HandFed()
    camera = live_camera(stream)
    feed(camera, stream)
    assert not camera.trigger("a")
    camera.close()


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
    wait_for(lambda: "its frames were 6x4, and now: hand, no decoder, 3x2" in caplog.text)
    camera.close()


def test_a_camera_that_hangs_is_left_behind_within_two_seconds_and_only_once(caplog):
    release = threading.Event()

    class Hanging(HandFed):
        def read(self, timeout_s):
            release.wait(30)
            raise StreamError(Cause.NO_DATA, "time-out")

    cameras = [live_camera(Hanging()) for _ in range(3)]
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "must not be empty"),
        ({"queue": 0}, "queue 0 must be positive"),
        ({"stall_s": -1.0}, "stall_s -1.0 must be positive"),
        ({"width": 640}, "width and height go together"),
        ({"every_n": 3}, "every_n 3 needs trigger: every-n"),
        ({"controls": ControlsConfig(gain=1.0)}, "gain cannot be set through a rtsp source"),
        ({"width": 640, "height": 480}, "size and rate of a rtsp source"),
        ({"pixel_format": "MJPG"}, "a rtsp source takes no pixel_format"),
        ({"source": "/dev/video0", "pixel_format": "YUYV2"}, "should be four letters"),
        ({"scale_16bit": "12"}, "scale_16bit is for folders"),
        ({"trigger": "software", "policy": "latest"}, "use policy: every"),
        ({"trigger_delay_ms": 5.0}, "trigger_delay_ms 5 needs trigger: software"),
        ({"trigger_delay_ms": float("nan")}, "trigger_delay_ms nan is not 0 or more"),
        (
            {"source": "genicam:a", "trigger": "software", "trigger_delay_ms": 5.0},
            "trigger_delay_ms 5: a genicam camera exposes when it is triggered",
        ),
    ],
)
def test_a_configuration_that_cannot_be_is_one_line(options, message):
    with pytest.raises(ValueError, match=message):
        CameraConfig(**{"name": "cam", "source": "rtsp://cam/1", **options})
    with pytest.raises(ValueError, match="must be above 0 and not above cap_s 1"):
        BackoffConfig(2.0, 1.0)
    with pytest.raises(ValueError, match="exposure_us 0 must be positive"):
        ControlsConfig(exposure_us=0)


@pytest.mark.parametrize(
    ("source", "kind", "policy"),
    [
        ("0", "v4l2", "latest"),
        ("/dev/v4l/by-id/usb-cam", "v4l2", "latest"),
        ("rtsp://cam/1", "rtsp", "latest"),
        ("RTSPS://cam/1", "rtsp", "latest"),
        ("https://cam/mjpg", "http", "latest"),
        ("udp://239.0.0.1:5000", "url", "latest"),
        ("genicam:Basler-1234", "genicam", "latest"),
        ("csi:0", "csi", "latest"),
        ("videotestsrc ! videoconvert", "gstreamer", "latest"),
        ("part.mp4", "video", "every"),
        (".", "folder", "every"),
    ],
)
def test_the_kind_is_read_off_the_address(source, kind, policy):
    config = CameraConfig("cam", source)
    assert (config.resolved_kind, config.resolved_policy) == (kind, policy)
