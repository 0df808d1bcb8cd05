import threading
import time
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from waiting import wait_until

from zsad.detector import Detector
from zsad.errors import InferenceError
from zsad.inspection.config import DebounceConfig
from zsad.line.accounts import Accounts, Ticket
from zsad.line.config import EngineConfig
from zsad.line.engine import Batcher, Engine
from zsad.line.judge import Identity, Judge, Taken
from zsad.sources.base import Frame
from zsad.sources.health import Counts

NOBODY = Identity("artifact", "graph", "cpu", "graph")


class Camera:
    """A camera with a queue of frames; `hung` gives nothing, whatever lies in it."""

    def __init__(self, name, frames=()):
        self.name = name
        self.queue = deque(frames)
        self.hung = False
        self.given = len(self.queue)
        self.taken = 0

    def put(self, frame):
        self.queue.append(frame)
        self.given += 1

    def take(self):
        if self.hung or not self.queue:
            return None
        self.taken += 1
        return self.queue.popleft()

    def counts(self):
        return Counts(self.given, self.taken, {}, len(self.queue))


class Judges:
    """One judge for all cameras."""

    def __init__(self, judge, healthy=True):
        self.one, self.healthy = judge, healthy
        self.checks, self.closed = 0, False

    def identity(self, camera):
        return self.one.identity

    def judge(self, taken):
        return self.one.judge(taken)

    def is_well(self):
        return self.healthy

    def check(self):
        self.checks += 1

    def close(self):
        self.closed = True


def grey(level, name="0", captured_s=None, error=None):
    image = None if error else np.full((8, 12, 3), level, np.uint8)
    return Frame(name, image, error, time.monotonic() if captured_s is None else captured_s)


def make_batcher(cameras, **options):
    accounts = Accounts({c.name: c.counts for c in cameras}, time.monotonic)
    return Batcher(cameras, accounts, EngineConfig(**options))


def names(batch):
    return [(taken.ticket.camera, taken.frame.name) for taken in batch]


def next_batch(batcher, idle_s=0.0):
    return names(batcher.next(lambda camera: NOBODY, threading.Event(), idle_s))


def frames(count):
    return [grey(0, str(number)) for number in range(count)]


def test_a_long_queue_keeps_no_other_camera_waiting():
    batcher = make_batcher([Camera("long", frames(6)), Camera("short", frames(1))], max_batch=2)
    assert next_batch(batcher) == [("long", "0"), ("short", "0")]
    assert next_batch(batcher) == [("long", "1"), ("long", "2")]


def test_the_turn_goes_on_where_it_stopped():
    cameras = [Camera(name, frames(2)) for name in "abc"]
    batcher = make_batcher(cameras, max_batch=2)
    assert [next_batch(batcher) for _ in range(3)] == [
        [("a", "0"), ("b", "0")],
        [("c", "0"), ("a", "1")],
        [("b", "1"), ("c", "1")],
    ]


def test_what_is_there_is_taken_without_waiting():
    batcher = make_batcher([Camera("a", frames(1)), Camera("b")], max_batch=4)
    begin_s = time.monotonic()
    assert next_batch(batcher, idle_s=30) == [("a", "0")]
    assert time.monotonic() - begin_s < 10


def test_a_hung_camera_delays_the_others_by_no_more_than_the_wait():
    hung = Camera("hung", frames(3))
    hung.hung = True
    batcher = make_batcher([hung, Camera("a", frames(1))], max_batch=2, max_wait_ms=50)
    begin_s = time.monotonic()
    assert next_batch(batcher, idle_s=30) == [("a", "0")]
    assert 0.05 <= time.monotonic() - begin_s < 10


def test_a_frame_that_comes_within_the_wait_joins_the_batch():
    late = Camera("late")
    batcher = make_batcher([Camera("a", frames(1)), late], max_batch=2, max_wait_ms=1000)

    def arrive():
        late.put(grey(0, "7"))
        batcher.wake()

    timer = threading.Timer(0.05, arrive)
    timer.start()
    assert next_batch(batcher, idle_s=30) == [("a", "0"), ("late", "7")]
    timer.join()


def test_nothing_comes_within_the_idle_time():
    assert next_batch(make_batcher([Camera("a")]), idle_s=0.02) == []


def take(frame):
    return Taken(Ticket(1, "a", time.monotonic()), frame, NOBODY)


class Run:
    """An engine in a thread of its own, and all that it told."""

    def __init__(self, judges, cameras, **options):
        self.judges = judges
        self.batcher = make_batcher(cameras)
        self.begun, self.judged, self.beats = [], [], 0
        self.ready = threading.Event()
        self.engine = Engine(
            lambda: judges,
            self.batcher,
            self.begun.extend,
            self.judged.extend,
            self.beat,
            self.ready.set,
            **options,
        )
        self.thread = threading.Thread(target=self.engine.run)

    def beat(self):
        self.beats += 1

    def until(self, condition, timeout_s=10):
        self.thread.start()
        try:
            wait_until(lambda: condition(self), timeout_s)
        finally:
            self.engine.stop()
            self.thread.join(timeout_s)
        assert not self.thread.is_alive()
        assert condition(self)
        return self


@pytest.fixture
def judge(make_artifact, make_recipe):
    path = make_artifact()
    with Detector.load(path, make_recipe(path, 0.5), backend="cpu") as detector:
        yield Judge(detector)


def test_frames_of_cameras_are_judged_and_told_with_their_stages(judge):
    cameras = [Camera("a", [grey(51)]), Camera("b", [grey(204)])]
    run = Run(Judges(judge), cameras).until(lambda r: len(r.judged) == 2)
    assert [one.view.verdict for one in run.judged] == ["OK", "NG"]
    assert [one.view.camera for one in run.judged] == ["a", "b"]
    assert [taken.ticket for taken in run.begun] == [one.taken.ticket for one in run.judged]
    view = run.judged[1].view
    assert view.score == pytest.approx(0.8, abs=1e-3)
    assert (view.threshold, view.score_kind, view.backend) == (0.5, "graph", "cpu")
    assert view.p_value == 0.5, "one good part, 0.1, scored lower"
    assert run.judged[0].view.p_value == 0.5
    ends = [view.stages_ms[s] for s in ("queued", "preprocessed", "inferred", "judged")]
    assert ends == sorted(ends)
    assert ends[0] >= 0
    assert view.recipe and view.calibration and view.artifact and view.graph
    assert run.judges.closed


def test_a_bad_frame_spoils_no_other_of_its_batch(judge):
    hollow = Frame("1", np.zeros((0, 0, 3), np.uint8), None, time.monotonic())
    cameras = [Camera("a", [grey(51)]), Camera("b", [hollow]), Camera("c", [grey(0, error="torn")])]
    run = Run(Judges(judge), cameras).until(lambda r: len(r.judged) == 3)
    found = {one.view.camera: one.view for one in run.judged}
    assert [found[name].verdict for name in "abc"] == ["OK", "NO_RESULT", "NO_RESULT"]
    assert found["c"].reason == "torn"
    assert found["b"].reason and found["b"].score is None


def test_a_frame_older_than_the_takt_is_not_judged(judge):
    old = grey(51, captured_s=time.monotonic() - 5)
    cameras = [Camera("a", [old]), Camera("b", [grey(51)])]
    run = Run(Judges(judge), cameras, takt_ms=3000).until(lambda r: len(r.judged) == 2)
    found = {one.view.camera: one.view for one in run.judged}
    assert found["a"].verdict == "NO_RESULT"
    assert "ms old when its turn came, the takt is 3000 ms" in found["a"].reason
    assert found["b"].verdict == "OK"


def test_an_idle_engine_beats_only_as_long_as_it_passes_its_own_check(judge):
    well = Run(Judges(judge), [Camera("a")], idle_s=0.01).until(lambda r: r.beats >= 3)
    assert well.judges.checks >= 3
    ill = Run(Judges(judge, healthy=False), [Camera("a")], idle_s=0.01)
    ill.until(lambda r: r.judges.checks >= 3)
    assert ill.beats == 0


def test_an_engine_that_fails_is_in_trouble_until_it_answers_again(judge, monkeypatch):
    taken = take(grey(51))

    def fail(feeds):
        raise InferenceError("the device is gone")

    judge.check()
    assert judge.trouble is None
    with monkeypatch.context() as patch:
        patch.setattr(judge.detector.backend, "infer", fail)
        (found,) = judge.judge([taken])
        assert (found.view.verdict, found.view.reason) == ("NO_RESULT", "the device is gone")
        assert judge.trouble == "the device is gone"
        judge.check()
        assert judge.trouble == "the device is gone"
    assert judge.judge([taken])[0].view.verdict == "OK"
    assert judge.trouble is None


def test_a_free_running_camera_is_debounced_and_a_triggered_part_is_not(make_artifact, make_recipe):
    path = make_artifact()
    recipe = replace(make_recipe(path, 0.5), debounce=DebounceConfig(0.0, 2, 3))
    with Detector.load(path, recipe, backend="cpu") as detector:
        judge = Judge(detector)
        levels = (51, 51, 204, 51, 204)
        found = [judge.judge([take(grey(level))])[0] for level in levels]
        assert [one.view.verdict for one in found] == ["OK", "OK", "NG", "OK", "NG"]
        settled = [one.settled.verdict.value for one in found]
        assert settled == ["NO_RESULT", "OK", "OK", "OK", "NG"]
        assert judge.judge([take(replace(grey(204), trigger="7"))])[0].settled is None
