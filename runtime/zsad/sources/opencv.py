"""Streams that OpenCV reads: URLs through FFmpeg, USB cameras through V4L2."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from zsad.sources.config import CameraConfig
from zsad.sources.health import Cause
from zsad.sources.stream import Backing, Reading, StreamError
from zsad.types import ImageU8

_FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_TCP = "rtsp_transport;tcp"
_HIGHEST_RATE_HZ = 1000.0
"""Some streams give the clock of their time stamps, 90000, for a rate."""
_TIMED_OUT = 0.9
_IN_VAIN = (Cause.REFUSED, Cause.TIMEOUT)
# Names in session descriptions of what FFmpeg decodes; with any other it may look until its
# time-out, which is then no lack of data.
_DECODED = (
    *("AV1", "H261", "H263", "H263-1998", "H263-2000", "H264", "H265", "JPEG", "MP2T", "MP4V-ES"),
    *("MPV", "OF NO NAME", "RAW", "THEORA", "VP8", "VP9"),
)
_USUAL_RATE_HZ = 25.0
_WAITED = 0.3
_LONGEST_BACKLOG_S = 1.0


@dataclass(frozen=True)
class Offer:
    """What a server offers at a URL.

    Attributes:
        video: Its codec's name in a session description, or its MIME type.
        address: Where it is, if its server sent to another; credentials included.
    """

    video: str
    address: str = field(repr=False)


Probe = Callable[[str, float], "StreamError | Offer"]
"""Asks the server of a URL, within seconds, what is wrong, or else what it offers."""


class Relay(Protocol):
    """Stands between FFmpeg and a server.

    Attributes:
        address: What FFmpeg opens.
    """

    address: str

    @property
    def note(self) -> str:
        """What it is good for, for a person."""

    @property
    def change(self) -> StreamError | None:
        """Why it ended the stream; None where it did not."""

    def end(self) -> None:
        """Have FFmpeg see the stream's end; safe from any thread."""

    def close(self) -> None:
        """Let go of everything; closing twice does no harm."""


OpenRelay = Callable[[str, float], Relay]
"""Connects to the server of a URL within seconds, or raises a `StreamError`."""


class OpenCvStream:
    """An open `cv2.VideoCapture`."""

    paced = True

    def __init__(
        self,
        capture: Any,
        backing: Backing,
        read_timeout_s: float,
        gone: Callable[[], StreamError],
        relay: Relay | None = None,
    ) -> None:
        """Take over an open capture.

        Args:
            capture: It, or what has its `grab`, `retrieve`, `get` and `release`.
            backing: What it is and why, for a person.
            read_timeout_s: The time-out that it was opened with.
            gone: Says why a read failed at once.
            relay: What it is read through, which is closed with it.
        """
        self._capture = capture
        self._read_timeout_s = read_timeout_s
        self._gone = gone
        self._relay = relay
        self.rate_hz = claimed_rate_hz(capture)
        self.backing = backing

    def read(self, timeout_s: float) -> Reading | None:
        """Return the next frame; the time-out is the one it was opened with.

        Raises:
            StreamError: The connection is over, or nothing came in time.
        """
        begun_s = time.monotonic()
        good = self._capture.grab()
        captured_s = time.monotonic()
        waited_s = captured_s - begun_s
        if waited_s >= _TIMED_OUT * self._read_timeout_s:
            # After its time-out OpenCV hands out what its decoder had kept back, as if it were new.
            raise StreamError(Cause.NO_DATA, f"no frame for {waited_s:.1f} s")
        if not good:
            raise self._gone()
        good, image = self._capture.retrieve()
        decoded_s = time.monotonic()
        if not good or image is None:
            return Reading(None, captured_s, decoded_s, "what came could not be decoded")
        return Reading(in_colour(image), captured_s, decoded_s)

    def interrupt(self) -> None:
        """End the stream where a relay can; OpenCV itself has no way to cut a read short."""
        if self._relay is not None:
            self._relay.end()

    def close(self) -> None:
        """Let go of the capture; closing twice does no harm."""
        self._capture.release()
        if self._relay is not None:
            self._relay.close()


class UrlOpener:
    """Opens a URL with FFmpeg, RTSP over TCP, with time-outs, and finds out why it fails."""

    def __init__(
        self,
        config: CameraConfig,
        probe: Probe | None = None,
        open_relay: OpenRelay | None = None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            config: The camera.
            probe: Asks the server itself first: OpenCV hides why it fails.
            open_relay: Sees what OpenCV hides of an RTSP stream over TCP.
        """
        self._config = config
        self._probe = probe
        self._open_relay = open_relay

    def open(self, closing: threading.Event) -> OpenCvStream:
        """Open the URL.

        Raises:
            StreamError: It cannot be opened; the cause is the server's where it can be asked.
        """
        found = self._ask()
        relay = self._relayed(_prepare_ffmpeg(), found)
        with contextlib.ExitStack() as undone:
            if relay is not None:
                undone.callback(relay.close)
            capture = self._captured(relay, found)
            undone.pop_all()
        reason = self._reason() if relay is None else f"{self._reason()}; {relay.note}"
        return OpenCvStream(
            capture,
            describe(capture, reason),
            self._config.patience_s,
            lambda: _over(relay),
            relay,
        )

    def _relayed(self, options: str, found: StreamError | Offer | None) -> Relay | None:
        if self._open_relay is None or _TCP not in options:
            return None
        # FFmpeg, which knows the server by the relay's address, might be sent back to that.
        address = found.address if isinstance(found, Offer) else self._config.source
        return self._open_relay(address, self._config.open_timeout_s)

    def _captured(self, relay: Relay | None, found: StreamError | Offer | None) -> Any:
        import cv2

        config = self._config
        # Time-outs take effect only here, with the back end named; `set` afterwards is too late.
        options = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            round(config.open_timeout_s * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            round(config.patience_s * 1000),
            # Each further thread keeps a frame back: half a second of them on a large machine.
            cv2.CAP_PROP_N_THREADS,
            config.decoder_threads,
        ]
        begun_s = time.monotonic()
        address = config.source if relay is None else relay.address
        capture: Any = cv2.VideoCapture(address, cv2.CAP_FFMPEG, options)
        if not capture.isOpened():
            capture.release()
            changed = None if relay is None else relay.change
            raise changed or self._why(found, time.monotonic() - begun_s)
        if capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 0:  # a file at a URL has no frame to lose
            skip_backlog(capture)
        return capture

    def _ask(self) -> StreamError | Offer | None:
        if self._probe is None:
            return None
        found = self._probe(self._config.source, self._config.open_timeout_s)
        # While OpenCV waits for a server it opens no other stream, so it must not wait in vain.
        if isinstance(found, StreamError) and found.cause in _IN_VAIN:
            raise found
        return found

    def _why(self, found: StreamError | Offer | None, waited_s: float) -> StreamError:
        timed_out = waited_s >= _TIMED_OUT * self._config.open_timeout_s
        if found is None:
            cause = Cause.TIMEOUT if timed_out else Cause.FAILED
            return StreamError(cause, f"FFmpeg cannot open it within {waited_s:.1f} s")
        if isinstance(found, StreamError):
            return found
        if timed_out and (found.video.upper() in _DECODED or "/" in found.video):
            return StreamError(Cause.NO_DATA, f"it sent no picture within {waited_s:.0f} s")
        return StreamError(Cause.CODEC, f"FFmpeg does not open its video, which is {found.video}")

    def _reason(self) -> str:
        if self._config.resolved_kind == "rtsp":
            return "RTSP over TCP, since UDP loses packets and passes no firewall"
        return "FFmpeg, which reads any URL"


def _prepare_ffmpeg() -> str:
    """Have FFmpeg take RTSP over TCP, and not print a line for each attempt that fails.

    OpenCV reads the first whenever it opens something, the second once.

    Returns:
        The options that FFmpeg is given.
    """
    options = os.environ.get(_FFMPEG_OPTIONS, "")
    if "rtsp_transport" not in options:
        options = f"{options}|{_TCP}" if options else _TCP
    os.environ[_FFMPEG_OPTIONS] = options
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    return options


def _over(relay: Relay | None) -> StreamError:
    if relay is not None and relay.change is not None:
        return relay.change
    return StreamError(Cause.END_OF_FILE, "the stream ended, or its connection was cut")


def skip_backlog(capture: Any) -> None:
    """Let go of the frames that queued up while FFmpeg looked at the stream, a second or two.

    Nothing tells their age, and they would be judged as new. The first frame that had to be
    waited for is the first fresh one; it goes with them.
    """
    period_s = 1 / (claimed_rate_hz(capture) or _USUAL_RATE_HZ)
    end_s = time.monotonic() + _LONGEST_BACKLOG_S
    while (begun_s := time.monotonic()) < end_s:
        if not capture.grab() or time.monotonic() - begun_s > _WAITED * period_s:
            return


def describe(capture: Any, reason: str) -> Backing:
    """Return what an open capture is and why."""
    import cv2

    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    letters = code.to_bytes(4, "little").decode("latin-1").strip("\0 ")
    decoder = letters if letters.isprintable() and letters else "of no name"
    backend = f"OpenCV {cv2.__version__} {capture.getBackendName()}"
    return Backing(backend, f"decoder {decoder}", reason)


def claimed_rate_hz(capture: Any) -> float | None:
    """Return the rate that a capture claims, None where that cannot be one."""
    import cv2

    rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
    return rate_hz if 0 < rate_hz <= _HIGHEST_RATE_HZ else None


def in_colour(image: ImageU8) -> ImageU8:
    """Return a frame with three channels; some cameras give plain grey whatever they are asked."""
    if image.ndim == 2:
        image = image[..., None]
    return image.repeat(3, axis=2) if image.shape[2] == 1 else image
