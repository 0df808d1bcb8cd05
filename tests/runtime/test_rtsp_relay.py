"""Real RTSP servers whose pictures change their size, and a relay that passes all else as it is."""

import contextlib
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from authority import make_authority
from fake_camera import picture
from waiting import wait_until

from zsad.sources import BackoffConfig, CameraConfig, open_camera
from zsad.sources.health import Cause, SourceState
from zsad.sources.rtsp_relay import RtspRelay
from zsad.sources.stream import StreamError

FAKES = Path(__file__).parents[1] / "fakes"
FULL, HALF = (240, 320, 3), (120, 160, 3)
DETECTED_S = 1.0
"""Far above the tenth of a second that it takes, and below any time-out."""


class Server:
    def __init__(self, *command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.process.stdout.readline())

    def obey(self, order):
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def serve():
    """Return `serve(*command) -> Server`."""
    with contextlib.ExitStack() as servers:

        def start(*command):
            server = Server(*command)
            servers.callback(server.close)
            return server

        yield start


@pytest.fixture
def started():
    """Return `started(address, **options) -> Camera`; no thread or descriptor is left of it."""
    before, cameras = [], []

    def start(address, **options):
        before.append((threading.active_count(), open_descriptors()))
        options.setdefault("isolate", False)
        cameras.append(
            open_camera(CameraConfig("cam", address, backoff=BackoffConfig(0.05, 0.2), **options))
        )
        cameras[-1].start()
        return cameras[-1]

    yield start
    for camera in cameras:
        camera.close()
    threads, descriptors = before[0]
    wait_until(lambda: threading.active_count() <= threads and open_descriptors() <= descriptors)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def gstreamer(serve):
    """Return `gstreamer(codec) -> Server`, its address `rtsp://127.0.0.1:PORT/line`."""
    return lambda codec: serve("/usr/bin/python3", str(FAKES / "rtsp_server.py"), "--codec", codec)


@pytest.mark.system("gst-launch-1.0")
@pytest.mark.parametrize(
    ("codec", "isolate"),
    [("h264", False), ("h264", True), ("h265", False), ("vp8", False), ("jpeg", False)],
)
def test_a_change_of_size_is_a_cause_at_once_and_no_picture_is_scaled(
    gstreamer, started, caplog, codec, isolate
):
    caplog.set_level("INFO")
    server = gstreamer(codec)
    camera = started(
        f"rtsp://127.0.0.1:{server.port}/line", isolate=isolate, policy="every", queue=200
    )
    frames = [wait_until(camera.take) for _ in range(5)]
    changed_s = time.monotonic()
    server.obey("half-size")
    lost = wait_until(lambda: [t for t in camera.transitions if t.state is SourceState.BACKING_OFF])
    assert lost[0].at_s - changed_s < DETECTED_S
    assert lost[0].cause is Cause.FAILED
    assert lost[0].detail == "its pictures changed from 320x240 to 160x120, so it is opened anew"
    while frames[-1].image_bgr.shape != HALF:
        frames.append(wait_until(camera.take))
    for frame in frames:
        # The full size has noise in a corner that is lost in the half size, and sharp bars.
        assert frame.image_bgr.shape in (FULL, HALF)
        if frame.image_bgr.shape == FULL:
            np.testing.assert_allclose(noise(frame.image_bgr), noise(frames[0].image_bgr), rtol=0.2)
    assert frames[-1].captured_s - changed_s < 10
    assert "its frames were 320x240, decoder" in caplog.text
    assert "; a change of size is noticed" in camera.health.opened_as


def noise(image):
    """How much neighbouring pixels differ in the corner where the test picture is noise."""
    return np.abs(np.diff(image[185:235, 245:315, 1].astype(float), axis=1)).mean()


@pytest.mark.system("gst-launch-1.0")
def test_a_camera_that_is_closed_in_the_middle_of_a_read_is_not_left_behind(
    gstreamer, started, caplog
):
    server = gstreamer("h264")
    camera = started(f"rtsp://127.0.0.1:{server.port}/line", stall_s=30.0)
    wait_until(camera.take)
    server.obey("stall")
    time.sleep(0.3)  # it hangs in a read now, which FFmpeg would give 30 s
    begun_s = time.monotonic()
    camera.close()
    assert time.monotonic() - begun_s < 1.5
    assert "left behind" not in caplog.text


def test_pixels_and_passwords_come_through_a_relay_as_they_are(serve, started, caplog):
    caplog.set_level("DEBUG")
    server = serve(sys.executable, str(FAKES / "fake_camera.py"), "rtsp", "--password", "p@ss")
    camera = started(f"rtsp://admin:p%40ss@127.0.0.1:{server.port}/live")
    for _ in range(3):
        np.testing.assert_array_equal(wait_until(camera.take).image_bgr, picture())
    assert "goes unnoticed, as the size of RAW pictures is not read" in camera.health.opened_as
    assert "p%40ss" not in caplog.text
    assert "p@ss" not in caplog.text


@pytest.mark.system("gst-launch-1.0")
@pytest.mark.parametrize("method", ["password", "digest"])
def test_a_server_that_asks_for_a_password_is_content_with_what_comes_through(
    gstreamer, started, method
):
    server = gstreamer("vp8")
    server.obey(f"{method} p@ss")
    camera = started(f"rtsp://admin:p%40ss@127.0.0.1:{server.port}/line")
    assert wait_until(camera.take).image_bgr.shape == FULL
    assert camera.health.reconnects == 0


@pytest.mark.system("openssl")
def test_a_camera_behind_tls_is_read(serve, started, tmp_path):
    _, certificate, key = make_authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = serve(sys.executable, str(FAKES / "fake_camera.py"), "rtsp")
    with socket.create_server(("127.0.0.1", 0)) as front:
        threading.Thread(target=unwrap, args=(front, context, server.port), daemon=True).start()
        camera = started(f"rtsps://127.0.0.1:{front.getsockname()[1]}/live")
        np.testing.assert_array_equal(wait_until(camera.take).image_bgr, picture())
        camera.close()
        front.shutdown(socket.SHUT_RDWR)


def unwrap(front, context, port):
    """Decrypt what comes to `front` for the server at `port`, one connection after another."""
    while True:
        try:
            plain = front.accept()[0]
        except OSError:
            return
        with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as client:
            server = socket.create_connection(("127.0.0.1", port))
            back = threading.Thread(target=copy, args=(server, client), daemon=True)
            back.start()
            copy(client, server)
            back.join()
            server.close()


def copy(source, target):
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def test_a_server_that_sends_to_another_of_its_streams_is_followed(serve, started):
    """By the name that it was asked by, as servers do that know no name of their own."""
    server = serve(sys.executable, str(FAKES / "fake_camera.py"), "rtsp")
    with socket.create_server(("127.0.0.1", 0)) as front:
        threading.Thread(target=forward, args=(front, server.port), daemon=True).start()
        camera = started(f"rtsp://u:p@127.0.0.1:{front.getsockname()[1]}/old")
        np.testing.assert_array_equal(wait_until(camera.take).image_bgr, picture())
        assert "as the size of RAW pictures is not read" in camera.health.opened_as
        camera.close()
        front.shutdown(socket.SHUT_RDWR)


def forward(front, port):
    """Be the server at `port`, one connection after another, whose stream was moved to /live."""
    while True:
        try:
            client = front.accept()[0]
        except OSError:
            return
        with contextlib.suppress(OSError), client:
            request = client.recv(4096)
            while place := re.match(rb"\w+ (rtsp://[^/]+)/old ", request):
                number = re.search(rb"CSeq: \d+", request)[0]
                moved = b"302 Moved\r\nLocation: " + place[1] + b"/live"
                status = moved if request.startswith(b"DESCRIBE") else b"200 OK"
                client.sendall(b"RTSP/1.0 " + status + b"\r\n" + number + b"\r\n\r\n")
                request = client.recv(4096)
            with socket.create_connection(("127.0.0.1", port)) as server:
                server.sendall(request)
                back = threading.Thread(target=copy, args=(server, client), daemon=True)
                back.start()
                copy(client, server)
                back.join()


@pytest.fixture
def pair():
    """A relay, the server's end of it and FFmpeg's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = RtspRelay(f"rtsp://u:p@127.0.0.1:{listener.getsockname()[1]}/a?b=c", 1.0)
        server = listener.accept()[0]
    place = relay.address.removeprefix("rtsp://u:p@127.0.0.1:").removesuffix("/a?b=c")
    client = socket.create_connection(("127.0.0.1", int(place)))
    client.settimeout(5.0)
    server.settimeout(5.0)
    yield relay, server, client
    relay.close()
    client.close()
    server.close()


def received(connection):
    blocks = list(iter(lambda: connection.recv(65536), b""))
    return b"".join(blocks)


def test_a_stream_of_any_length_passes_byte_for_byte_both_ways(pair):
    relay, server, client = pair
    client.sendall(b"OPTIONS * RTSP/1.0\r\n\r\n")
    assert server.recv(100) == b"OPTIONS * RTSP/1.0\r\n\r\n"
    packets = np.random.default_rng(1).integers(0, 256, (4000, 1400), np.uint8)
    packets[:, :4] = (0x24, 0, 1396 >> 8, 1396 & 0xFF)
    stream = packets.tobytes() + b"$\0\1\0cut in the middle"

    def send():
        server.sendall(stream)
        server.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    assert received(client) == stream
    sender.join()
    assert relay.change is None


def test_the_last_packet_of_a_picture_does_not_wait_for_a_receipt(pair):
    _, server, client = pair
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lengths, pictures, sent_s, late_s = [*[1396] * 5, 300], 25, [], []

    def send():
        for _ in range(pictures):
            for length in lengths:
                server.sendall(b"$\0" + struct.pack("!H", length) + bytes(length))
                time.sleep(0.001)
            sent_s.append(time.monotonic())
            # As after FFmpeg's own requests: it keeps a receipt back for 40 ms.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            time.sleep(0.05)

    sender = threading.Thread(target=send)
    sender.start()
    for number in range(pictures):
        missing = sum(4 + length for length in lengths)
        while missing:
            missing -= len(client.recv(missing))
        come_s = time.monotonic()
        wait_until(lambda n=number: len(sent_s) > n)
        late_s.append(come_s - sent_s[number])
    sender.join()
    assert np.median(late_s) < 0.015


def test_after_its_end_ffmpeg_still_takes_leave_of_the_server(pair):
    relay, server, client = pair
    server.sendall(b"RTSP/1.0 200 OK\r\n\r\n")
    assert client.recv(100) == b"RTSP/1.0 200 OK\r\n\r\n"
    relay.end()
    assert received(client) == b""
    server.sendall(b"$\0\0\4more")
    client.sendall(b"TEARDOWN")
    assert server.recv(100) == b"TEARDOWN"


def test_what_ffmpeg_says_last_reaches_the_server_though_it_left_frames_unread(pair):
    relay, server, client = pair
    frames = b"$\0\x05\x78" + bytes(1400)
    server.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while True:  # until the relay itself waits for room
            server.send(frames * 100)
    server.settimeout(5.0)
    client.sendall(b"TEARDOWN")
    client.close()
    relay.close()
    assert server.recv(100) == b"TEARDOWN"


def test_a_relay_that_nobody_used_is_closed_at_once():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = RtspRelay(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/", 1.0)
        begun_s = time.monotonic()
        relay.close()
        relay.close()
        assert time.monotonic() - begun_s < 1.0
    assert not any(thread.name.startswith("rtsp relay") for thread in threading.enumerate())


def test_a_server_that_refuses_is_a_cause():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(StreamError, match="refuses the connection") as caught:
        RtspRelay(f"rtsp://a:secret@127.0.0.1:{port}/", 1.0)
    assert caught.value.cause is Cause.REFUSED
