"""What a configuration of a camera means, and which one cannot be."""

import pytest

from zsad.backoff import BackoffConfig
from zsad.errors import InputError
from zsad.sources.config import CameraConfig, ControlsConfig


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


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
@pytest.mark.parametrize(
    "rest",
    [
        "op:20/26@cam",
        "op:20#26@cam/1",
        "op:/26@cam",
        "op:x/26@cam",
        "/live",
        "cam:99999/x",
        "a..b/x",
    ],
)
def test_a_password_is_not_taken_for_a_port_and_shown(scheme, rest):
    with pytest.raises(InputError, match="has no usable host and port: percent-encode") as caught:
        CameraConfig("cam", f"{scheme}://{rest}")
    assert "20" not in str(caught.value) and "26" not in str(caught.value)


@pytest.mark.parametrize(
    "rest",
    ["op:20%2F26@cam/1", "op:a@b@cam/1", "10.0.0.5:554/live@main", "[::1]:80/a@b", "cam/live@main"],
)
def test_an_address_that_can_be_meant_is_taken(rest):
    assert CameraConfig("cam", f"rtsp://{rest}").resolved_kind == "rtsp"


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
