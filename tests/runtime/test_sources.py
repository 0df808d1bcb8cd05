import os
import threading
import time

import cv2
import numpy as np
import pytest

from zsad.errors import InputError
from zsad.sources import (
    Camera,
    CameraConfig,
    FolderSource,
    LiveSource,
    VideoSource,
    mask_credentials,
    open_camera,
    open_source,
)
from zsad.sources.health import Cause, SourceState
from zsad.sources.opencv import OpenCvStream, UrlOpener, skip_backlog
from zsad.sources.stream import Backing, Reading, StreamError


def never():
    return False


def test_a_folder_gives_its_images_in_order_and_errors_in_place(grey_folder):
    folder = grey_folder(levels=(0, 51, 102))
    (folder / "grey050.png").write_text("not an image")
    with FolderSource(folder) as source:
        frames = list(source.frames(never))
    assert [f.name for f in frames] == ["grey000.png", "grey050.png", "grey051.png", "grey102.png"]
    assert "is not an image" in frames[1].error
    assert frames[1].image_bgr is None
    assert frames[3].image_bgr[0, 0].tolist() == [102, 102, 102]
    assert (source.total, source.captured, source.dropped) == (4, 4, 0)


def test_a_folder_s_names_can_be_written_down_even_if_they_are_no_text(tmp_path):
    folder = tmp_path / os.fsdecode(b"in\xfd")
    folder.mkdir()
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, 3), 30, np.uint8))
    (tmp_path / "a.png").rename(folder / os.fsdecode(b"a\xff.png"))
    (folder / os.fsdecode(b"b\xfe.png")).write_text("not an image")
    with FolderSource(folder) as source:
        good, bad = source.frames(never)
    assert (good.name, good.error, int(good.image_bgr[0, 0, 0])) == ("a\\xff.png", None, 30)
    assert bad.name == "b\\xfe.png"
    assert "in\\xfd/b\\xfe.png is not an image" in bad.error
    assert source.name.endswith("in\\xfd")


def test_a_stop_request_ends_a_folder_between_images(grey_folder):
    with FolderSource(grey_folder()) as source:
        frames = source.frames(lambda: source.captured >= 2)
        assert len(list(frames)) == 2
    assert source.captured == 2


@pytest.fixture
def video(tmp_path):
    """A video of twelve grey frames, each twenty levels lighter."""
    path = tmp_path / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 24))
    for index in range(12):
        writer.write(np.full((24, 32, 3), 20 * index, np.uint8))
    writer.release()
    return path


def test_every_frame_of_a_video_comes_in_order(video):
    with open_source(str(video)) as source:
        frames = list(source.frames(never))
    assert [f.name for f in frames] == [str(i) for i in range(12)]
    levels = [float(f.image_bgr.mean()) for f in frames]
    np.testing.assert_allclose(levels, 20.0 * np.arange(12), atol=2)
    assert (source.total, source.captured, source.dropped) == (12, 12, 0)


def test_a_video_that_ends_early_is_reported(tmp_path, caplog):
    path = tmp_path / "noise.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    for _ in range(40):
        writer.write(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with VideoSource(path) as source:
        count = len(list(source.frames(never)))
    assert 10 < count < 30
    assert f"ended after {count} of about 40 frames: it may be damaged" in caplog.text


def test_a_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(InputError, match="is not a video that OpenCV can read"):
        open_source(str(tmp_path / "a.mp4"))


def test_a_source_that_is_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="neither a file nor a camera's number nor a URL"):
        open_source(str(tmp_path / "none.mp4"))
    with pytest.raises(InputError, match="use --images"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("spec", ["0", "/dev/video0", "rtsp://host/stream", "http://host/mjpg"])
def test_cameras_and_urls_are_live(spec):
    assert isinstance(open_source(spec), LiveSource)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("rtsp://admin:secret@10.0.0.5:554/live", "rtsp://***@10.0.0.5:554/live"),
        ("rtsp://admin:p@ss/w@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("http://cam/mjpg?user=admin&pwd=secret&fps=5", "http://cam/mjpg?user=***&pwd=***&fps=5"),
        (
            "rtsp://cam/user=admin_password=secret_channel=1",
            "rtsp://cam/user=***_password=***_channel=1",
        ),
        (
            "http://cam/user=op_password=two_words_1_stream=0.sdp",
            "http://cam/user=***_password=***_stream=0.sdp",
        ),
        ("http://cam/mjpg?password=two_words&fps=5", "http://cam/mjpg?password=***&fps=5"),
        ("cannot open rtsp://a:b@c/d now", "cannot open rtsp://***@c/d now"),
        ("rtsp://10.0.0.5:554/live", "rtsp://10.0.0.5:554/live"),
        ("rtspsrc user-id=admin user-pw='a b' ! x", "rtspsrc user-id=*** user-pw=*** ! x"),
        ("/dev/v4l/by-id/usb-cam@1", "/dev/v4l/by-id/usb-cam@1"),
    ],
)
def test_credentials_are_masked(text, masked):
    assert mask_credentials(text) == masked


class Script:
    """An opener whose connections give `count` frames and then only silence."""

    paced, rate_hz, backing = True, 1.0, Backing("script", "none", "a test")

    def __init__(self, count, period_s=0.0, failure=None, stays=False):
        self.stays = stays
        self.left, self.period_s, self.failure = count, period_s, failure
        self.opened = self.closed = 0
        self.finished = threading.Event()

    def open(self, closing):
        self.opened += 1
        if self.failure is not None:
            failure, self.failure = self.failure, self.failure if self.stays else None
            raise failure
        return self

    def read(self, timeout_s):
        if self.left == 0:
            self.finished.set()
            time.sleep(0.01)
            return None
        time.sleep(self.period_s)
        self.left -= 1
        now_s = time.monotonic()
        return Reading(np.full((4, 6, 3), self.left % 256, np.uint8), now_s, now_s)

    def interrupt(self):
        pass

    def close(self):
        self.closed += 1


def live(script, stall_s=None, address="rtsp://user:secret@cam/1"):
    return LiveSource(address, stall_s, lambda config, on_frame: Camera(config, script, on_frame))


def test_a_slow_judge_gets_the_newest_frame_and_each_drop_is_counted():
    script = Script(200)
    names = []
    with live(script) as source:
        for frame in source.frames(lambda: len(names) == 2):
            names.append(frame.name)
            assert script.finished.wait(5)
    assert names[-1] == "199"
    assert (source.captured, source.dropped) == (200, 198)


@pytest.mark.parametrize("judged_frames", [1, 2, 7])
def test_captured_is_judged_plus_dropped_whenever_the_run_ends(judged_frames):
    judged = []
    with live(Script(10**6, period_s=0.0005)) as source:
        for frame in source.frames(lambda: len(judged) == judged_frames):
            judged.append(int(frame.name))
            time.sleep(0.01)
    assert source.captured == judged_frames + source.dropped
    assert judged == sorted(set(judged))
    assert source.dropped > 0


def test_a_silent_camera_is_opened_again_instead_of_ending_the_run(caplog):
    script = Script(3)
    with live(script, stall_s=0.05) as source:
        frames = source.frames(lambda: script.opened == 3)
        assert len(list(frames)) >= 1
    assert source.health.reconnects == 2
    assert script.closed == 3
    assert "stalled: no-data" in caplog.text
    assert "secret" not in caplog.text


def test_a_device_that_never_was_is_one_line_and_an_unplugged_one_is_waited_for():
    gone = StreamError(Cause.NOT_FOUND, "there is no such device")
    with (
        live(Script(0, failure=gone, stays=True), address="/dev/v4l/by-id/none") as source,
        pytest.raises(InputError, match="/dev/v4l/by-id/none cannot be opened: there is no such"),
    ):
        next(source.frames(never))
    script = Script(1, stays=True)
    with live(script, address="/dev/v4l/by-id/cam", stall_s=0.05) as source:
        frames = source.frames(lambda: script.opened == 4)
        next(frames)
        script.failure = gone
        assert list(frames) == []


def test_a_network_camera_that_is_not_there_is_waited_for():
    script = Script(5, failure=StreamError(Cause.NOT_FOUND, "no such host"))
    with live(script) as source:
        stop_s = time.monotonic() + 10
        for frame in source.frames(lambda: time.monotonic() > stop_s):
            assert frame.image_bgr.shape == (4, 6, 3)
            break
        else:
            pytest.fail("it never came")
        assert script.opened == 2


def test_time_outs_tcp_and_one_decoder_thread_are_asked_for_when_a_url_is_opened(monkeypatch):
    calls = []
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", raising=False)

    class Capture:
        def __init__(self, *arguments):
            calls.append((arguments, os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"]))

        def isOpened(self):
            return True

        def grab(self):
            return False

        def get(self, which):
            return {cv2.CAP_PROP_FPS: 90000.0}.get(which, 0.0)

        def getBackendName(self):
            return "FFMPEG"

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    config = CameraConfig("cam", "rtsp://cam/1", open_timeout_s=7, read_timeout_s=4, stall_s=3)
    stream = UrlOpener(config).open(threading.Event())
    (address, backend, options), environment = calls[0]
    asked = dict(zip(options[::2], options[1::2], strict=True))
    assert (address, backend) == ("rtsp://cam/1", cv2.CAP_FFMPEG)
    assert asked == {
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: 7000,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC: 3000,
        cv2.CAP_PROP_N_THREADS: 1,
    }
    assert environment == "rtsp_transport;tcp"
    assert stream.rate_hz is None, "some streams give the clock of their time stamps for a rate"
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "hwaccel;cuda")
    UrlOpener(config).open(threading.Event())
    assert calls[1][1] == "hwaccel;cuda|rtsp_transport;tcp"


class LateCapture:
    """Gives its frames at once, and then one that its decoder kept back until the time-out."""

    def __init__(self, at_once):
        self.left = at_once

    def get(self, which):
        return 25.0 if which == cv2.CAP_PROP_FPS else 0.0

    def grab(self):
        if self.left == 0:
            time.sleep(0.2)
        self.left = max(0, self.left - 1)
        return True

    def retrieve(self):
        return True, np.zeros((4, 6, 3), np.uint8)


def test_what_comes_with_the_time_out_is_old_and_not_a_frame():
    backing = Backing("OpenCV", "none", "a test")
    stream = OpenCvStream(LateCapture(2), backing, 0.2, lambda: StreamError(Cause.FAILED, "gone"))
    assert stream.read(0) is not None
    assert stream.read(0) is not None
    with pytest.raises(StreamError, match=r"no frame for 0\.2 s") as caught:
        stream.read(0)
    assert caught.value.cause is Cause.NO_DATA


def test_what_queued_up_while_the_stream_was_looked_at_is_let_go():
    capture = LateCapture(30)
    skip_backlog(capture)
    assert capture.left == 0


def test_a_video_as_a_camera_gives_every_frame_and_ends(video):
    camera = open_camera(CameraConfig("cam", str(video), queue=2))
    camera.start()
    levels, end_s = [], time.monotonic() + 10
    while camera.health.state is not SourceState.ENDED or camera.health.counts.waiting:
        assert time.monotonic() < end_s
        if (frame := camera.take()) is not None:
            levels.append(float(frame.image_bgr.mean()))
        else:
            time.sleep(0.005)
    np.testing.assert_allclose(levels, 20.0 * np.arange(12), atol=2)
    health = camera.health
    assert (health.cause, health.counts.dropped) == (Cause.END_OF_FILE, {})
    camera.close()
    assert camera.health.cause is Cause.END_OF_FILE, "closing does not change why it ended"


def test_a_video_that_is_not_there_yet_is_waited_for(tmp_path):
    camera = open_camera(CameraConfig("cam", str(tmp_path / "later.avi")))
    camera.start()
    end_s = time.monotonic() + 10
    while camera.health.cause is not Cause.NOT_FOUND:
        assert time.monotonic() < end_s
        time.sleep(0.005)
    camera.close()
