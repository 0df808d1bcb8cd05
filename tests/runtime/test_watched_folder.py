"""A watched folder: each picture once, and only when it is complete."""

import os
import shutil
import time

import cv2
import numpy as np
import pytest

from zsad.sources import CameraConfig, open_camera
from zsad.sources.health import Cause, SourceState

LEVELS = range(0, 250, 10)


def png(level):
    return cv2.imencode(".png", np.full((8, 12, 3), level, np.uint8))[1].tobytes()


@pytest.fixture
def watched(tmp_path):
    """A folder and its camera, started."""
    folder = tmp_path / "in"
    folder.mkdir()
    camera = open_camera(CameraConfig("folder", str(folder), stall_s=0.1))
    camera.start()
    yield folder, camera
    camera.close()


def collect(camera, count, deadline_s=10.0):
    frames, end_s = [], time.monotonic() + deadline_s
    while len(frames) < count:
        assert time.monotonic() < end_s, f"{len(frames)} of {count} came"
        if (frame := camera.take()) is not None:
            frames.append(frame)
        else:
            time.sleep(0.01)
    return frames


def nothing_for(camera, seconds):
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        assert camera.take() is None
        time.sleep(0.01)


def test_each_file_is_given_once_with_its_own_pixels(watched):
    folder, camera = watched
    for level in LEVELS:
        (folder / f"{level:03d}.png").write_bytes(png(level))
        os.utime(folder / f"{level:03d}.png", ns=(0, level))
    frames = collect(camera, len(LEVELS))
    assert [f.name for f in frames] == [f"{level:03d}.png" for level in LEVELS]
    assert [int(f.image_bgr[0, 0, 0]) for f in frames] == list(LEVELS)
    nothing_for(camera, 0.4)
    counts = camera.health.counts
    assert (counts.captured, counts.taken, counts.dropped) == (len(LEVELS), len(LEVELS), {})


def test_an_empty_folder_is_live_for_as_long_as_nobody_writes(watched):
    _, camera = watched
    nothing_for(camera, 0.5)
    assert camera.health.state is SourceState.LIVE
    assert camera.health.reconnects == 0


def test_a_file_that_is_being_written_is_waited_for(watched):
    folder, camera = watched
    content = png(70)
    with (folder / "slow.png").open("wb") as stream:
        for start in range(0, len(content), 12):
            stream.write(content[start : start + 12])
            stream.flush()
            assert camera.take() is None
            time.sleep(0.15)  # slower than the folder is looked at
    (frame,) = collect(camera, 1)
    assert (frame.error, int(frame.image_bgr[0, 0, 0])) == (None, 70)


def test_a_file_that_is_moved_in_is_taken_at_once(watched, tmp_path):
    folder, camera = watched
    (tmp_path / "elsewhere.png").write_bytes(png(90))
    os.rename(tmp_path / "elsewhere.png", folder / "a.png")
    begun_s = time.monotonic()
    collect(camera, 1)
    assert time.monotonic() - begun_s < 1.5


def test_the_same_name_with_another_picture_is_another_part(watched):
    folder, camera = watched
    for level in (10, 20):
        (folder / "new.png").write_bytes(png(level))
        os.replace(folder / "new.png", folder / "part.png")
        frames = collect(camera, 1)
        assert int(frames[0].image_bgr[0, 0, 0]) == level


def test_what_is_no_picture_is_a_frame_with_an_error_and_other_files_are_left_alone(watched):
    folder, camera = watched
    (folder / "part.png").write_text("no picture")
    (folder / ".hidden.png").write_bytes(png(1))
    (folder / "notes.txt").write_text("x")
    (folder / "inner.png").mkdir()
    (frame,) = collect(camera, 1)
    assert frame.image_bgr is None
    assert "is not an image" in frame.error
    nothing_for(camera, 0.4)


def test_a_name_that_is_no_text_is_judged_and_can_be_written_down(watched):
    folder, camera = watched
    content = {
        b"good\xff.png": png(30),
        b"bad\xfe.png": b"no picture",
        "gr\u00fcn.png".encode(): png(50),
    }
    for name, what in content.items():
        (folder / os.fsdecode(name)).write_bytes(what)
    frames = {frame.name: frame for frame in collect(camera, 3)}
    assert sorted(frames) == ["bad\\xfe.png", "good\\xff.png", "gr\u00fcn.png"]
    assert int(frames["good\\xff.png"].image_bgr[0, 0, 0]) == 30
    assert "bad\\xfe.png" in frames["bad\\xfe.png"].error
    assert all(frame.error is None or frame.error.encode() for frame in frames.values())
    nothing_for(camera, 0.4)


def test_a_folder_that_goes_away_is_waited_for_and_nothing_is_given_twice(watched):
    folder, camera = watched
    (folder / "a.png").write_bytes(png(10))
    collect(camera, 1)
    folder.rename(folder.with_name("away"))
    end_s = time.monotonic() + 5
    while camera.health.cause is not Cause.NOT_FOUND:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    folder.with_name("away").rename(folder)
    (folder / "b.png").write_bytes(png(20))
    (frame,) = collect(camera, 1)
    assert frame.name == "b.png"
    nothing_for(camera, 0.3)
    shutil.rmtree(folder)


def test_deep_pictures_are_scaled_as_configured(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((8, 12), 4095, np.uint16))
    camera = open_camera(CameraConfig("folder", str(tmp_path), scale_16bit="12"))
    camera.start()
    (frame,) = collect(camera, 1)
    camera.close()
    assert (frame.error, frame.image_bgr[0, 0].tolist()) == (None, [255, 255, 255])


def test_a_full_queue_holds_the_folder_up_and_loses_nothing(tmp_path):
    for level in LEVELS:
        (tmp_path / f"{level:03d}.png").write_bytes(png(level))
    camera = open_camera(CameraConfig("folder", str(tmp_path), queue=2))
    camera.start()
    end_s = time.monotonic() + 5
    while camera.health.counts.waiting < 2:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    time.sleep(0.3)
    assert camera.health.counts.waiting == 2
    assert len(collect(camera, len(LEVELS))) == len(LEVELS)
    assert camera.health.counts.dropped == {}
    camera.close()


def test_an_empty_file_is_a_part_without_a_result_and_not_a_part_that_nobody_saw(watched):
    folder, camera = watched
    (folder / "empty.png").touch()
    (frame,) = collect(camera, 1)
    assert frame.image_bgr is None
    assert "is empty (0 bytes)" in frame.error


def test_a_folder_whose_files_may_not_be_opened_does_not_pass_for_an_empty_one(
    watched, monkeypatch
):
    folder, camera = watched
    (folder / "a.png").write_bytes(png(10))
    collect(camera, 1)
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.X_OK)
    end_s = time.monotonic() + 5
    while camera.health.cause is not Cause.AUTH:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    assert "it lacks the x right" in camera.health.detail
    monkeypatch.undo()
    (folder / "b.png").write_bytes(png(20))
    (frame,) = collect(camera, 1)
    assert frame.name == "b.png"
