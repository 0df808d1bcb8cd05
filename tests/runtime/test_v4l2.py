"""V4L2 cameras through a capture that is known by hand: no test here has a camera."""

import errno
import os
import threading

import cv2
import numpy as np
import pytest

from zsad.sources import CameraConfig, ControlsConfig
from zsad.sources.health import Cause
from zsad.sources.stream import StreamError
from zsad.sources.v4l2 import V4l2Opener, device_path, lasting_name


class FakeCapture:
    """Holds what is set, except what `deaf` names; gives `frames` frames and then fails."""

    def __init__(self, frames=1, opened=True, deaf=()):
        self.values, self.frames, self.opened, self.deaf = {}, frames, opened, deaf
        self.released = False

    def isOpened(self):
        return self.opened

    def set(self, which, value):
        if which not in self.deaf:
            self.values[which] = value
        return which not in self.deaf

    def get(self, which):
        return self.values.get(which, 0.0)

    def getBackendName(self):
        return "V4L2"

    def grab(self):
        self.frames -= 1
        return self.frames >= 0

    def retrieve(self):
        return True, np.full((4, 6), 9, np.uint8)

    def release(self):
        self.released = True


def opener(path, capture, **options):
    config = CameraConfig("usb", str(path), kind="v4l2", **options)
    return V4l2Opener(config, lambda device: capture)


@pytest.fixture
def device(tmp_path):
    path = tmp_path / "usb-camera"
    path.touch()
    return path


def test_format_size_rate_and_controls_are_set_and_read_back(device, caplog):
    capture = FakeCapture()
    stream = opener(
        device,
        capture,
        width=640,
        height=480,
        rate_hz=30.0,
        pixel_format="MJPG",
        controls=ControlsConfig(exposure_us=5000, gain=2, white_balance_k=4500),
    ).open(threading.Event())
    assert capture.values == {
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
        cv2.CAP_PROP_FRAME_WIDTH: 640,
        cv2.CAP_PROP_FRAME_HEIGHT: 480,
        cv2.CAP_PROP_FPS: 30.0,
        cv2.CAP_PROP_AUTO_EXPOSURE: 1,
        cv2.CAP_PROP_EXPOSURE: 50,
        cv2.CAP_PROP_GAIN: 2,
        cv2.CAP_PROP_AUTO_WB: 0,
        cv2.CAP_PROP_WB_TEMPERATURE: 4500,
    }
    assert next(iter(capture.values)) == cv2.CAP_PROP_FOURCC, "it decides which sizes there are"
    assert stream.rate_hz == 30.0
    assert "decoder MJPG" in stream.backing.decoder
    assert "locked: exposure_us, gain, white_balance_k, read back" in stream.backing.reason
    assert caplog.text == ""


def test_what_does_not_hold_is_said(device, caplog):
    capture = FakeCapture(deaf=(cv2.CAP_PROP_GAIN,))
    stream = opener(device, capture, controls=ControlsConfig(gain=7)).open(threading.Event())
    assert "camera usb: gain was set to 7, and reads 0" in caplog.text
    assert "not all hold" in stream.backing.reason


def test_grey_frames_become_colour_and_an_unplugged_device_has_its_cause(device):
    stream = opener(device, FakeCapture(frames=1)).open(threading.Event())
    assert stream.read(0).image_bgr.shape == (4, 6, 3)
    with pytest.raises(StreamError, match="stopped giving frames"):
        stream.read(0)
    device.unlink()
    with pytest.raises(StreamError) as caught:
        stream.read(0)
    assert caught.value.cause is Cause.NOT_FOUND


@pytest.mark.parametrize(
    ("number", "cause", "words"),
    [
        (errno.ENOENT, Cause.NOT_FOUND, "there is no such device"),
        (errno.EACCES, Cause.AUTH, "usermod -aG video"),
        (errno.EBUSY, Cause.REFUSED, "another program has it"),
        (errno.EIO, Cause.FAILED, os.strerror(errno.EIO)),
    ],
)
def test_the_kernel_says_why_a_device_does_not_open(device, monkeypatch, number, cause, words):
    def refuse(path, flags):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("zsad.sources.v4l2.os.open", refuse)
    with pytest.raises(StreamError, match=words) as caught:
        opener(device, FakeCapture()).open(threading.Event())
    assert caught.value.cause is cause


def test_a_device_that_is_no_camera_is_let_go(device):
    capture = FakeCapture(opened=False)
    with pytest.raises(StreamError, match="is no camera") as caught:
        opener(device, capture).open(threading.Event())
    assert caught.value.cause is Cause.CODEC
    assert capture.released


def test_a_number_is_warned_about_by_the_name_that_lasts(tmp_path, monkeypatch, caplog):
    link = tmp_path / "usb-Vendor_Camera_1234-index0"
    link.symlink_to("/dev/video7")
    monkeypatch.setattr("zsad.sources.v4l2.BY_ID", tmp_path)
    monkeypatch.setattr(
        "zsad.sources.v4l2.lasting_name", lambda device: lasting_name(device, tmp_path)
    )
    opener("7", FakeCapture())
    assert f"/dev/video7 may be another camera after the next plug or boot: use {link}" in (
        caplog.text
    )
    caplog.clear()
    opener(link, FakeCapture())
    assert caplog.text == ""
    assert str(device_path("7")) == "/dev/video7"
