"""The faults of a camera: what is done to it, and what must be seen of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """A fault, how it is put in and taken out, and what must be seen of it.

    Attributes:
        camera: `http`, `rtsp` (the fake ones), `gst-rtsp` (GStreamer's server), `gst-launch`
            (the same, read by a GStreamer pipeline) or `genicam`.
        fault: What goes wrong, in words.
        order: What makes it go wrong.
        repair: What makes it right again.
        causes: Causes, one of which must be seen; empty where the source must stay live.
        isolate: Whether a child process reads it.
    """

    camera: str
    fault: str
    order: str
    repair: str
    causes: tuple[str, ...]
    isolate: bool = False

    @property
    def name(self) -> str:
        """Camera and fault."""
        return f"{self.camera}{' isolated' if self.isolate else ''}: {self.fault}"


_FAKE_FAULTS = (
    ("refuses connections", "refuse", ("refused",), ("refused",)),
    ("accepts and never answers", "silent", ("timeout",), ("timeout",)),
    ("answers, then sends nothing", "no-data", ("no-data",), ("no-data",)),
    ("stalls", "stall", ("no-data",), ("no-data",)),
    ("sends half pictures", "half", ("codec",), ("end-of-file", "codec")),
    ("byte after byte", "drip", ("no-data",), ("no-data",)),
    ("resets every connection", "reset", ("failed",), ("end-of-file", "codec")),
    ("ends the stream in good order", "end", ("end-of-file",), ("end-of-file", "codec")),
    ("has no such stream any more", "missing", ("not-found",), ("not-found",)),
    ("asks for another password", "password other", ("auth",), ("auth",)),
    ("sends twice the rate", "double", (), ()),
)


SCENARIOS = (
    *(Scenario("http", name, order, "none", http) for name, order, http, _ in _FAKE_FAULTS),
    Scenario("http", "sends what is no picture", "garbage", "none", ("codec",)),
    Scenario("http", "changes its size", "size", "none", ()),
    *(Scenario("rtsp", name, order, "none", rtsp) for name, order, _, rtsp in _FAKE_FAULTS),
    Scenario("rtsp", "offers a codec that nobody knows", "garbage", "none", ("codec",)),
    Scenario("rtsp", "time stamps jump back", "jump", "none", ()),
    Scenario("rtsp", "stalls", "stall", "none", ("no-data",), isolate=True),
    Scenario("rtsp", "accepts and never answers", "silent", "none", ("timeout",), isolate=True),
    Scenario("gst-rtsp", "stalls", "stall", "go", ("no-data",)),
    Scenario("gst-rtsp", "cuts every client", "cut", "", ("end-of-file",)),
    Scenario("gst-rtsp", "the process hangs", "hang", "wake", ("no-data", "timeout")),
    Scenario("gst-rtsp", "changes its size", "half-size", "full-size", ("failed",)),
    Scenario("gst-launch", "stalls", "stall", "go", ("no-data",)),
    Scenario("gst-launch", "cuts every client", "cut", "", ("end-of-file", "failed")),
    Scenario("gst-launch", "changes its size", "half-size", "full-size", ()),
    Scenario("genicam", "is unplugged", "unplug", "plug", ("not-found",)),
    Scenario("genicam", "loses every second packet", "lossy", "plug", ("codec",)),
)
