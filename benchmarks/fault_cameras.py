"""Cameras that misbehave on command, each a process of its own.

They are those of the tests: HTTP and RTSP servers written for it, GStreamer's RTSP server, and
Aravis's fake GigE Vision camera.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

FAKES = Path(__file__).parents[1] / "tests" / "fakes"
SYSTEM_PYTHON = "/usr/bin/python3"


class CameraProcess:
    """A camera in a process of its own, which obeys one line at a time."""

    def __init__(self, command: list[str], order: str = "") -> None:
        """Start it and wait for its port; `order` is obeyed first."""
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin and self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.port = int(self._stdout.readline())
        if order:
            self.obey(order)

    def obey(self, order: str) -> None:
        """Send an order and wait until it is carried out; `hang` and `wake` are for the kernel."""
        if order in ("hang", "wake"):
            os.kill(self._process.pid, signal.SIGSTOP if order == "hang" else signal.SIGCONT)
            return
        self._stdin.write(f"{order}\n")
        self._stdin.flush()
        assert self._stdout.readline() == "done\n", f"the camera did not obey: {order}"

    def close(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        self._stdin.close()
        self._stdout.close()


def fake_camera(protocol: str, *options: str) -> CameraProcess:
    """Start the camera of `tests/fakes/fake_camera.py`."""
    return CameraProcess([sys.executable, str(FAKES / "fake_camera.py"), protocol, *options])


def rtsp_server(codec: str = "h264") -> CameraProcess:
    """Start GStreamer's RTSP server."""
    return CameraProcess([SYSTEM_PYTHON, str(FAKES / "rtsp_server.py"), "--codec", codec])


class GenicamProcess:
    """Aravis's fake GigE Vision camera on loopback, which is unplugged by killing it."""

    def __init__(self) -> None:
        """Start it."""
        self._process: subprocess.Popen[bytes] | None = None
        self.obey("plug")

    def obey(self, order: str) -> None:
        """Carry out `plug`, `unplug`, or `lossy`, which loses every second packet."""
        self.close()
        if order != "unplug":
            lost = ["-r", "500"] if order == "lossy" else []
            self._process = subprocess.Popen(["arv-fake-gv-camera-0.8", "-i", "127.0.0.1", *lost])

    def close(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Process(Protocol):
    """Any camera that obeys."""

    def obey(self, order: str) -> None:
        """Carry out an order."""

    def close(self) -> None:
        """End it."""


def start_camera(camera: str) -> tuple[Process, str]:
    """Start the camera of a scenario; return it and the address to read it by."""
    if camera == "genicam":
        return GenicamProcess(), "genicam:127.0.0.1"
    if camera in ("gst-rtsp", "gst-launch"):
        server = rtsp_server()
        address = f"rtsp://127.0.0.1:{server.port}/line"
        if camera == "gst-rtsp":
            return server, address
        source = f"rtspsrc location={address} protocols=tcp latency=0"
        return server, f"{source} ! rtph264depay ! avdec_h264 max-threads=1"
    fake = fake_camera(camera, "--password", "secret")
    return fake, f"{camera}://admin:secret@127.0.0.1:{fake.port}/live"
