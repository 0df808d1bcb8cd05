import threading
import time

import cv2
import numpy as np
import pytest

from zsad.errors import InputError
from zsad.sources import FolderSource, LiveSource, VideoSource, mask_credentials, open_source
from zsad.sources.mailbox import Mailbox


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
        ("cannot open rtsp://a:b@c/d now", "cannot open rtsp://***@c/d now"),
        ("rtsp://10.0.0.5:554/live", "rtsp://10.0.0.5:554/live"),
        ("/dev/v4l/by-id/usb-cam@1", "/dev/v4l/by-id/usb-cam@1"),
    ],
)
def test_credentials_are_masked(text, masked):
    assert mask_credentials(text) == masked


def test_a_mailbox_keeps_the_newest_and_counts_the_rest():
    mailbox = Mailbox()
    for item in (1, 2, 3):
        mailbox.put(item)
    assert mailbox.take(0) == 3
    assert mailbox.take(0) is None
    mailbox.put(4)
    mailbox.close()
    assert mailbox.take(0) is None
    assert not mailbox.put(5)
    assert mailbox.counts == (4, 3)


def test_a_mailbox_wakes_the_one_who_waits():
    mailbox = Mailbox()
    threading.Timer(0.05, mailbox.put, ["item"]).start()
    start = time.monotonic()
    assert mailbox.take(5) == "item"
    assert time.monotonic() - start < 2


class FakeCapture:
    """Gives `count` frames, one each `period_s`, then fails every read."""

    def __init__(self, count, period_s=0.0, opened=True):
        self.left, self.period_s, self.opened = count, period_s, opened
        self.released = False
        self.finished = threading.Event()

    def isOpened(self):
        return self.opened

    def read(self):
        if self.left == 0:
            self.finished.set()
            return False, None
        time.sleep(self.period_s)
        self.left -= 1
        return True, np.full((4, 6, 3), self.left % 256, np.uint8)

    def release(self):
        self.released = True


def live(capture, stall_s=0.3, address="rtsp://user:secret@cam/1"):
    return LiveSource(address, stall_s, open_capture=lambda address, timeout_s: capture)


def test_a_slow_judge_gets_the_newest_frame_and_each_drop_is_counted():
    capture = FakeCapture(200)
    names = []
    with live(capture) as source:
        for frame in source.frames(lambda: len(names) == 2):
            names.append(frame.name)
            assert capture.finished.wait(5)
    assert names[-1] == "199"
    assert (source.captured, source.dropped) == (200, 198)


@pytest.mark.parametrize("judged_frames", [1, 2, 7])
def test_captured_is_judged_plus_dropped_whenever_the_run_ends(judged_frames):
    judged = []
    with live(FakeCapture(10**6, period_s=0.0005)) as source:
        for frame in source.frames(lambda: len(judged) == judged_frames):
            judged.append(int(frame.name))
            time.sleep(0.01)
    assert source.captured == judged_frames + source.dropped
    assert judged == sorted(set(judged))
    assert source.dropped > 0


def test_a_silent_camera_ends_with_one_line_that_hides_its_password():
    source = live(FakeCapture(3))
    with source, pytest.raises(InputError, match="gave no frame for") as caught:
        for _ in source.frames(never):
            pass
    assert "secret" not in str(caught.value)
    assert "rtsp://***@cam/1" in str(caught.value)
    assert source.age_s >= 0.3


def test_a_camera_that_does_not_open_says_so_and_is_let_go():
    capture = FakeCapture(0, opened=False)
    with live(capture) as source, pytest.raises(InputError, match="cannot be opened: check addr"):
        next(source.frames(never))
    assert capture.released


def test_an_error_in_the_thread_reaches_the_one_who_reads():
    def explode(address, timeout_s):
        raise RuntimeError(f"no driver for {address}")

    with (
        LiveSource("rtsp://a:secret@cam/1", open_capture=explode) as source,
        pytest.raises(InputError, match=r"cannot be opened: no driver for rtsp://\*\*\*@cam"),
    ):
        next(source.frames(never))


def test_grey_frames_of_a_camera_become_colour():
    capture = FakeCapture(1)
    capture.read = lambda: (True, np.full((4, 6), 9, np.uint8))
    with live(capture) as source:
        assert next(source.frames(never)).image_bgr.shape == (4, 6, 3)


def test_time_outs_and_tcp_are_asked_for_when_a_url_is_opened(monkeypatch):
    calls = []
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", raising=False)

    def capture(*arguments):
        import os

        calls.append((arguments, os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"]))
        return FakeCapture(1)

    monkeypatch.setattr(cv2, "VideoCapture", capture)
    with LiveSource("rtsp://cam/1") as source:
        next(source.frames(never))
    (address, backend, options), environment = calls[0]
    asked = dict(zip(options[::2], options[1::2], strict=True))
    assert (address, backend) == ("rtsp://cam/1", cv2.CAP_FFMPEG)
    assert asked == {cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: 10_000, cv2.CAP_PROP_READ_TIMEOUT_MSEC: 10_000}
    assert environment == "rtsp_transport;tcp"


def test_an_unreachable_url_is_one_line_through_opencv_itself():
    with (
        LiveSource("rtsp://admin:secret@127.0.0.1:9/none") as source,
        pytest.raises(InputError, match=r"rtsp://\*\*\*@127\.0\.0\.1:9/none cannot be opened"),
    ):
        next(source.frames(never))
