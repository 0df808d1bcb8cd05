"""Cameras in child processes: GStreamer, GenICam, and any other that is isolated."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_camera import picture
from waiting import wait_until

from zsad.errors import InputError
from zsad.sources import BackoffConfig, CameraConfig, ControlsConfig, open_camera
from zsad.sources.address import infer_kind
from zsad.sources.genicam import to_bgr
from zsad.sources.gstreamer import csi_pipeline, header_size
from zsad.sources.health import Cause, SourceState
from zsad.sources.stream import StreamError

FAKES = Path(__file__).parents[1] / "fakes"
QUICK = BackoffConfig(0.05, 0.2)


def children():
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for children in lists for pid in children.read_text().split()}


@pytest.fixture
def started():
    """Return `start(source, **options) -> Camera`; closed at the end, without a child left."""
    before, cameras = children(), []

    def start(source, **options):
        cameras.append(open_camera(CameraConfig("cam", source, backoff=QUICK, **options)))
        cameras[-1].start()
        return cameras[-1]

    yield start
    for camera in cameras:
        camera.close()
    assert children() <= before


@pytest.fixture
def still(tmp_path):
    """Return `still(width) -> path`: a PNG of known pixels, and those pixels."""

    def make(width):
        image = np.random.default_rng(width).integers(0, 256, (48, width, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{width}.png"), image)
        return tmp_path / f"{width}.png", image

    return make


@pytest.mark.system("gst-launch-1.0")
@pytest.mark.parametrize("width", [64, 61, 62, 63])
def test_a_pipeline_s_pixels_come_through_bit_for_bit_at_any_width(started, still, width, caplog):
    caplog.set_level("INFO")
    path, image = still(width)
    camera = started(
        f"filesrc location={path} ! pngdec ! imagefreeze num-buffers=3", policy="every"
    )
    frame = wait_until(camera.take)
    assert frame.image_bgr.dtype == np.uint8
    np.testing.assert_array_equal(frame.image_bgr, image)
    # Its end is no reason to stop: the next pipeline gives the same pixels.
    wait_until(lambda: camera.health.reconnects >= 2)
    later = [f for f in iter(camera.take, None)][-1]
    np.testing.assert_array_equal(later.image_bgr, image)
    line = f"camera cam: gst-launch-1.0, decoder as in its pipeline, {width}x48, rate not said: "
    assert line in caplog.text


@pytest.mark.system("gst-launch-1.0")
@pytest.mark.parametrize(
    ("pipeline", "cause", "words"),
    [
        ("nosuchelement ! identity", Cause.FAILED, 'no element "nosuchelement"'),
        ("filesrc location=/none.mp4 ! decodebin", Cause.NOT_FOUND, "Resource not found"),
        ("filesrc location=/etc/passwd ! decodebin", Cause.CODEC, "text file"),
        ("rtspsrc location=rtsp://a:secret@127.0.0.1:9/x ! decodebin", Cause.REFUSED, "refuses"),
        ("v4l2src device=/dev/video99 ! identity", Cause.NOT_FOUND, "Cannot identify device"),
    ],
)
def test_a_pipeline_that_fails_has_its_cause(started, pipeline, cause, words, caplog):
    camera = started(pipeline)
    wait_until(lambda: camera.health.cause)
    assert (camera.health.cause, words in camera.health.detail) == (cause, True)
    assert "secret" not in caplog.text


def test_a_size_is_read_off_the_stream_and_never_assumed():
    assert header_size(bytearray(b"P6\n64 4")) is None
    assert header_size(bytearray(b"P6\n64 48\n255\nxyz")) == (13, 48, 64)
    assert header_size(bytearray(b"P6\n# a comment\n64 48\n255\n")) == (25, 48, 64)
    for garbage in (b"x" * 300, b"P6\n99999 99999\n255\n", b"P6\n0 4\n255\n"):
        with pytest.raises(StreamError) as caught:
            header_size(bytearray(garbage))
        assert caught.value.cause is Cause.CODEC


def test_a_csi_camera_is_a_pipeline_that_is_locked():
    config = CameraConfig(
        "csi",
        "csi:1",
        width=1920,
        height=1080,
        rate_hz=30.0,
        controls=ControlsConfig(exposure_us=5000, gain=2.5, white_balance_k=0),
    )
    assert csi_pipeline(config) == (
        'nvarguscamerasrc sensor-id=1 exposuretimerange="5000000 5000000" aelock=true'
        ' gainrange="2.5 2.5" awblock=true ! video/x-raw(memory:NVMM),width=1920,height=1080,'
        "framerate=30000/1000 ! nvvidconv ! video/x-raw,format=BGRx"
    )
    with pytest.raises(InputError, match="should be csi:NUMBER"):
        csi_pipeline(CameraConfig("csi", "csi:left"))
    with pytest.raises(InputError, match="white_balance_k 0 locks"):
        controls = ControlsConfig(white_balance_k=4000)
        csi_pipeline(CameraConfig("csi", "csi:0", controls=controls))


def test_a_missing_gst_launch_is_one_line_with_the_package(monkeypatch):
    monkeypatch.setattr("zsad.sources.gstreamer.shutil.which", lambda name: None)
    with pytest.raises(InputError, match="apt-get install gstreamer1"):
        open_camera(CameraConfig("cam", "videotestsrc ! identity"))


@pytest.fixture
def gige():
    """Aravis's fake GigE Vision camera on loopback."""
    process = subprocess.Popen(["arv-fake-gv-camera-0.8", "-i", "127.0.0.1"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.system("arv-fake-gv-camera-0.8")
def test_a_genicam_camera_is_locked_and_runs_freely(started, gige, caplog):
    controls = ControlsConfig(exposure_us=3000, gain=3, white_balance_k=0)
    camera = started("genicam:127.0.0.1", controls=controls, pixel_format="RGB8")
    frame = wait_until(camera.take)
    assert (frame.image_bgr.shape, frame.image_bgr.dtype) == ((512, 512, 3), np.uint8)
    assert camera.health.opened_as.startswith(
        "Aravis 0.8, pixels RGB8, 512x512, 25 Hz: Aravis Fake"
    )
    # The fake camera has exposure and gain, and no white balance.
    assert "no automatic white balance to switch off" in caplog.text
    assert "was set to" not in caplog.text
    wait_until(lambda: camera.health.counts.captured > 10)


@pytest.mark.system("arv-fake-gv-camera-0.8")
def test_a_software_trigger_goes_to_the_camera_and_its_id_comes_back(started, gige):
    camera = started("genicam:127.0.0.1", trigger="software", stall_s=5.0)
    wait_until(lambda: camera.health.state is SourceState.LIVE)
    time.sleep(0.3)
    assert camera.health.counts.captured == 0
    for number in range(5):
        assert camera.trigger(f"part-{number}")
        frame = wait_until(camera.take)
        assert (frame.trigger, frame.number) == (f"part-{number}", number)
    counts = camera.health.counts
    assert (counts.captured, counts.taken, counts.dropped) == (5, 5, {})
    assert camera.health.reconnects == 0


@pytest.mark.system("arv-fake-gv-camera-0.8")
def test_a_triggered_frame_that_lost_packets_is_an_error_of_its_own_part(started):
    lossy = ["arv-fake-gv-camera-0.8", "-i", "127.0.0.1", "-r", "400"]
    process = subprocess.Popen(lossy)
    try:
        camera = started("genicam:127.0.0.1", trigger="software", stall_s=1.0)
        errors = 0
        for number in range(8):
            wait_until(lambda n=number: camera.trigger(f"part-{n}"))
            before = camera.health.reconnects
            # An answer of which not one packet came is given up with the connection.
            frame = wait_until(lambda b=before: camera.take() or camera.health.reconnects > b)
            if frame is not True:
                assert (frame.trigger, frame.image_bgr) == (f"part-{number}", None)
                assert frame.error.startswith("incomplete: ")
                errors += 1
        assert errors > 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.system("arv-fake-gv-camera-0.8")
def test_a_camera_that_another_program_has_is_refused(started, gige):
    first = started("genicam:127.0.0.1")
    wait_until(first.take)
    second = started("genicam:127.0.0.1")
    wait_until(lambda: second.health.cause)
    assert second.health.cause is Cause.REFUSED
    first.close()
    wait_until(second.take)


@pytest.mark.parametrize("name", ["Mono8", "RGB8", "BGR8"])
def test_plain_pixel_formats(name):
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    sent = {"Mono8": image[..., 0], "RGB8": image[..., ::-1], "BGR8": image}[name]
    found = to_bgr(np.ascontiguousarray(sent).tobytes(), 2, 3, name)
    expected = image[..., :1].repeat(3, axis=2) if name == "Mono8" else image
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("colour", [(200, 10, 30), (5, 120, 250)])
@pytest.mark.parametrize("pattern", ["RG", "GB", "GR", "BG"])
def test_a_bayer_pattern_keeps_its_colours(pattern, colour):
    blue, green, red = colour
    letters = {"R": red, "G": green, "B": blue}
    other = {"RG": "GB", "GB": "RG", "GR": "BG", "BG": "GR"}[pattern]
    rows = [[letters[letter] for letter in row] for row in (pattern, other)]
    mosaic = np.tile(np.array(rows, np.uint8), (4, 4))
    found = to_bgr(mosaic.tobytes(), 8, 8, f"Bayer{pattern}8")
    np.testing.assert_array_equal(found[2:-2, 2:-2], np.broadcast_to(colour, (4, 4, 3)))


def test_an_unknown_pixel_format_and_too_few_bytes_are_causes():
    with pytest.raises(StreamError, match="set the camera to Mono8, RGB8"):
        to_bgr(bytes(12), 2, 2, "Mono12Packed")
    with pytest.raises(StreamError, match="3 bytes for 2x2 Mono8"):
        to_bgr(bytes(3), 2, 2, "Mono8")


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("genicam:", {}, "name the camera"),
        ("genicam:x", {"controls": ControlsConfig(white_balance_k=5000)}, "no white balance in"),
    ],
)
def test_a_genicam_configuration_that_cannot_be_is_one_line(source, options, message):
    assert infer_kind(source) == "genicam"
    with pytest.raises(InputError, match=message):
        open_camera(CameraConfig("cam", source, **options))


@pytest.fixture
def network_camera():
    process = subprocess.Popen(
        [sys.executable, str(FAKES / "fake_camera.py"), "rtsp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield f"rtsp://user:secret@127.0.0.1:{int(process.stdout.readline())}/live"
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def redirecting(listener, address):
    """Send whoever asks for a description elsewhere, until the listener is shut."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                while request := connection.recv(4096).decode():
                    number = re.search(r"CSeq: \d+", request)[0]
                    is_question = request.startswith("DESCRIBE")
                    status = f"302 Moved\r\nLocation: {address}" if is_question else "200 OK"
                    connection.sendall(f"RTSP/1.0 {status}\r\n{number}\r\n\r\n".encode())


def test_a_stream_that_its_server_moved_to_another_is_followed(started, network_camera):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=redirecting, args=(listener, network_camera))
        thread.start()
        camera = started(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live")
        assert wait_until(camera.take).image_bgr is not None
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def command_lines():
    lines = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines[int(entry.parent.name)] = entry.read_bytes()
        except OSError:
            continue
    return lines


def test_the_death_of_a_child_is_a_cause_and_a_frozen_one_is_killed(started, network_camera):
    before = children()
    camera = started(network_camera, isolate=True, stall_s=0.5)
    frame = wait_until(camera.take)
    np.testing.assert_array_equal(frame.image_bgr, picture())
    assert "in a process of its own" in camera.health.opened_as
    assert not any(b"secret" in line for line in command_lines().values() if b"isolated" in line)
    (child,) = children() - before
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: camera.health.reconnects == 1)
    causes = [t for t in camera.transitions if t.cause is Cause.FAILED]
    assert "killed by SIGKILL" in causes[0].detail
    wait_until(lambda: camera.health.state is SourceState.LIVE)
    (child,) = children() - before
    os.kill(child, signal.SIGSTOP)
    wait_until(lambda: camera.health.state is SourceState.STALLED, 2.0)
    wait_until(lambda: camera.health.reconnects == 2)
    wait_until(lambda: child not in command_lines())
    frame = wait_until(camera.take)
    np.testing.assert_array_equal(frame.image_bgr, picture())


def test_a_camera_that_hangs_in_the_opening_keeps_no_other_from_coming(started, network_camera):
    command = [sys.executable, str(FAKES / "fake_camera.py"), "rtsp", "--fault", "no-data"]
    hung = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        # It describes a stream and plays it, and FFmpeg waits for the first picture.
        first = started(f"rtsp://127.0.0.1:{int(hung.stdout.readline())}/live", open_timeout_s=20.0)
        time.sleep(1.0)
        begun_s = time.monotonic()
        second = started(network_camera)
        wait_until(second.take)
        assert time.monotonic() - begun_s < 9
        assert first.health.state is SourceState.CONNECTING
        assert first.health.counts.captured == 0
    finally:
        hung.kill()
        hung.wait()
        hung.stdin.close()
        hung.stdout.close()


def test_no_child_outlives_a_parent_that_was_killed(network_camera):
    script = (
        "import time\n"
        "from zsad.sources import CameraConfig, open_camera\n"
        f"camera = open_camera(CameraConfig('cam', {network_camera!r}, isolate=True))\n"
        "camera.start()\n"
        "while camera.take() is None: time.sleep(0.01)\n"
        "print('live', flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdout.readline() == "live\n"
    task = Path(f"/proc/{parent.pid}/task")
    grandchildren = {int(p) for c in task.glob("*/children") for p in c.read_text().split()}
    assert len(grandchildren) == 1
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not grandchildren & command_lines().keys(), 5.0)


def test_nothing_in_the_working_directory_is_run_as_code(started, tmp_path, monkeypatch):
    film, work = tmp_path / "film.avi", tmp_path / "work"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    work.mkdir()
    for module in ("http", "json", "numpy", "cv2", "zsad", "sitecustomize"):
        (work / f"{module}.py").write_text(f"open({str(work / 'ran')!r}, 'w')\nraise SystemExit(3)")
    monkeypatch.chdir(work)
    camera = started(str(film), isolate=True)
    assert wait_until(camera.take).image_bgr.shape == (48, 64, 3)
    assert "in a process of its own" in camera.health.opened_as
    assert not (work / "ran").exists()
