"""Which frames of a camera are judged: triggers, and one in so many."""

import time

from scripted_camera import FakeClock, HandFed, OnDemand, feed, live_camera
from waiting import wait_until

from zsad.backoff import BackoffConfig
from zsad.sources.camera import Camera
from zsad.sources.config import CameraConfig
from zsad.sources.health import Cause, SourceState
from zsad.sources.stream import StreamError
from zsad.sources.trigger import TriggerGate


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
    wait_until(lambda: camera.health.reconnects == 1)
    feed(camera, stream)
    assert camera.take() is None
    assert "lost before their frame: part-7" in caplog.text
    camera.close()


def test_an_answer_that_is_incomplete_is_its_own_trigger_s_and_no_other_s():
    stream = OnDemand()
    camera = live_camera(stream, trigger="software")
    wait_until(lambda: camera.trigger("a"))
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
    wait_until(lambda: camera.health.state is SourceState.LIVE)
    time.sleep(0.4)
    assert (camera.health.state, camera.health.reconnects) == (SourceState.LIVE, 0)
    camera.close()


def test_a_trigger_that_is_never_answered_is_given_up_with_the_connection(caplog):
    stream = OnDemand()
    camera = live_camera(stream, trigger="software", stall_s=0.3, backoff=BackoffConfig(0.01, 0.01))
    wait_until(lambda: camera.trigger("a"))
    wait_until(lambda: camera.health.reconnects == 1)
    assert "lost before their frame: a" in caplog.text
    wait_until(lambda: camera.trigger("b"))
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
