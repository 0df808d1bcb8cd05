"""The child process of a GenICam camera: runs under the system's Python, where Aravis is.

It imports nothing of zsad, nor numpy, since that Python has neither. See `wire.py` for what it
sends; on standard input it takes its order as a line of JSON, then lines of `trigger`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import Any, BinaryIO

_BUFFERS = 8
_POP_US = 100_000
_NOT_CONTROLLER = 10  # ARV_DEVICE_ERROR_NOT_CONTROLLER: somebody else has the camera


def main() -> None:
    """Open the camera, send its frames, and say why it ended."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    order = json.loads(sys.stdin.readline())
    try:
        Acquisition(order, out).run()
    except Failure as failure:
        _send(out, {"failure": {"cause": failure.cause, "detail": str(failure)}})
    except BrokenPipeError:
        pass  # nobody listens any more
    except Exception as error:
        # GLib.Error, whose name only exists once gi is there, or a bug: said, never swallowed.
        refused = getattr(error, "code", None) == _NOT_CONTROLLER
        detail = "another program has the camera" if refused else f"Aravis: {error}"
        _send(out, {"failure": {"cause": "refused" if refused else "failed", "detail": detail}})


class Failure(Exception):
    """Why there are no more frames."""

    def __init__(self, cause: str, detail: str) -> None:
        """Name the cause as `zsad.sources.health.Cause` does."""
        super().__init__(detail)
        self.cause = cause


def _import_aravis() -> Any:
    try:
        import gi

        gi.require_version("Aravis", "0.8")
        from gi.repository import Aravis
    except (ImportError, ValueError):
        packages = "apt-get install python3-gi gir1.2-aravis-0.8"
        raise Failure("failed", f"the system's Python has no Aravis: {packages}") from None
    return Aravis


class Acquisition:
    """One open camera."""

    def __init__(self, order: dict[str, Any], out: BinaryIO) -> None:
        """Open and set up the camera."""
        self._aravis = _import_aravis()
        self._order, self._out = order, out
        self._lost = threading.Event()
        self._told_to_stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self._told_to_stop.set())
        self._camera = self._open(order["id"])
        self._camera.get_device().connect("control-lost", lambda *_: self._lost.set())
        self._choose_format(order["pixel_format"])
        self._problems = list(self._lock())

    def _open(self, camera_id: str) -> Any:
        try:
            camera = self._aravis.Camera.new(camera_id)
        except Exception as error:  # GLib.Error, which only exists once gi is there
            found = ", ".join(self._devices()) or "none"
            detail = f"{getattr(error, 'message', error)}; cameras found: {found}"
            raise Failure("not-found", detail) from None
        device = camera.get_device()
        if hasattr(device, "is_controller") and not device.is_controller():
            raise Failure("refused", "another program has the camera")
        return camera

    def _devices(self) -> list[str]:
        self._aravis.update_device_list()
        return [self._aravis.get_device_id(n) for n in range(self._aravis.get_n_devices())]

    def _choose_format(self, name: str | None) -> None:
        if name is None:
            return
        known = self._camera.dup_available_pixel_formats_as_strings()
        if name not in known:
            raise Failure("codec", f"the camera has no pixel format {name}: {', '.join(known)}")
        self._camera.set_pixel_format_from_string(name)

    def _lock(self) -> Any:
        """Set and read back; yield a line for each that does not hold."""
        camera, order = self._camera, self._order
        settings = (
            ("exposure time", order["exposure_us"], "exposure_time"),
            ("gain", order["gain"], "gain"),
        )
        for name, wanted, feature in settings:
            if wanted is None:
                continue
            if not getattr(camera, f"is_{feature}_available")():
                yield f"this camera has no {name} to set"
                continue
            automatic = feature.removesuffix("_time")
            if getattr(camera, f"is_{automatic}_auto_available")():
                getattr(camera, f"set_{feature}_auto")(self._aravis.Auto.OFF)
            getattr(camera, f"set_{feature}")(wanted)
            found = getattr(camera, f"get_{feature}")()
            if abs(found - wanted) > max(0.5, 0.05 * wanted):
                yield f"{name} was set to {wanted:g}, and reads {found:g}"
        if order["lock_white_balance"]:
            if camera.is_feature_available("BalanceWhiteAuto"):
                camera.set_string("BalanceWhiteAuto", "Off")
            else:
                yield "this camera has no automatic white balance to switch off"

    def run(self) -> None:
        """Send frames until the camera is lost, or this process is told to stop."""
        camera, triggered = self._camera, self._order["software_trigger"]
        if triggered:
            camera.set_trigger("Software")
        elif camera.is_feature_available("TriggerMode"):
            camera.clear_triggers()
        stream = camera.create_stream(None, None)
        for _ in range(_BUFFERS):
            stream.push_buffer(self._aravis.Buffer.new_allocate(camera.get_payload()))
        camera.start_acquisition()
        try:
            _send(self._out, {"opened": self._opened(triggered)})
            if triggered:
                threading.Thread(target=self._take_orders, name="orders", daemon=True).start()
            self._send_frames(stream)
        finally:
            self._let_go()

    def _send_frames(self, stream: Any) -> None:
        while not self._told_to_stop.is_set():
            if self._lost.is_set():
                detail = "the camera does not answer any more: unplugged, or no power"
                raise Failure("not-found", detail)
            buffer = stream.timeout_pop_buffer(_POP_US)
            if buffer is not None:
                self._send_frame(buffer)
                stream.push_buffer(buffer)

    def _let_go(self) -> None:
        """Give the control back: else the camera takes no new master until its heartbeat ends."""
        if self._lost.is_set():
            return
        device = self._camera.get_device()
        try:
            self._camera.stop_acquisition()
            if hasattr(device, "leave_control"):  # GigE Vision's alone
                device.leave_control()
        except Exception as error:  # it may be gone by now
            print(f"letting go: {error}", file=sys.stderr, flush=True)

    def _opened(self, triggered: bool) -> dict[str, Any]:
        camera = self._camera
        reason = f"{camera.get_vendor_name()} {camera.get_model_name()}"
        if self._problems:
            reason += "; not all that was to be locked holds"
        backing = {
            "backend": "Aravis 0.8",
            "decoder": f"pixels {camera.get_pixel_format_as_string()}",
            "reason": reason,
        }
        # What waits for triggers has no rate of its own.
        rate_hz = None if triggered else _rate_hz(camera)
        return {
            "backing": backing,
            "rate_hz": rate_hz,
            "paced": not triggered,
            "problems": self._problems,
        }

    def _take_orders(self) -> None:
        for line in sys.stdin:
            if line.strip() == "trigger":
                try:
                    self._camera.software_trigger()
                except Exception as error:  # a camera that is gone; the main thread says so
                    print(f"trigger: {error}", file=sys.stderr, flush=True)
                    self._lost.set()

    def _send_frame(self, buffer: Any) -> None:
        captured_s = time.monotonic()
        status = buffer.get_status()
        if status != self._aravis.BufferStatus.SUCCESS:
            error = f"incomplete: {status.value_nick}"
            _send(self._out, {"frame": {"captured_s": captured_s, "error": error, "bytes": 0}})
            return
        pixels = buffer.get_data()
        frame = {
            "captured_s": captured_s,
            "error": None,
            "bytes": len(pixels),
            "width": buffer.get_image_width(),
            "height": buffer.get_image_height(),
            "pixel_format": self._camera.get_pixel_format_as_string(),
        }
        _send(self._out, {"frame": frame}, pixels)


def _rate_hz(camera: Any) -> float | None:
    return float(camera.get_frame_rate()) if camera.is_frame_rate_available() else None


def _send(out: BinaryIO, line: dict[str, Any], pixels: bytes = b"") -> None:
    out.write(json.dumps(line).encode() + b"\n")
    out.write(pixels)
    out.flush()


if __name__ == "__main__":
    main()
