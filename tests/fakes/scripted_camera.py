"""Cameras over streams and a clock that are known by hand."""

import itertools
import random
import threading
import time

import numpy as np
from waiting import wait_until

from zsad.sources.camera import Camera
from zsad.sources.config import CameraConfig
from zsad.sources.health import Cause
from zsad.sources.stream import Backing, Reading, StreamError

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


def run_script(connections, paced=True, **options):
    """Run a camera until its script is over; return camera, script and clock."""
    clock = FakeClock()
    script = Script(clock, connections, paced)
    config = CameraConfig("cam", "rtsp://user:secret@cam/1", **options)
    camera = Camera(config, script, clock=clock, random_numbers=random.Random(7))
    camera.start()
    assert clock.over.wait(10)
    wait_until(lambda: camera.health.cause is Cause.REFUSED)
    camera.close()
    return camera, script, clock


def path(camera):
    return [(t.state.value, t.cause and t.cause.value) for t in camera.transitions]


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
        wait_until(lambda n=number: camera.health.counts.captured == captured + n + 1)


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
