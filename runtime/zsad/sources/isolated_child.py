"""The child process of an isolated source: reads it, and sends every frame to its parent."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
from typing import Any, BinaryIO

import numpy as np

from zsad.schema import from_json
from zsad.sources.config import CameraConfig
from zsad.sources.kinds import make_opener
from zsad.sources.stream import Reading, Stream, StreamError

_READ_SLICE_S = 0.25


def main() -> None:
    """Read the configuration from standard input, then send frames until killed."""
    # The libraries print where they like; only frames may go to the parent.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    config = from_json(CameraConfig, json.loads(sys.stdin.readline()), "standard input")
    try:
        stream = make_opener(config).open(threading.Event())
        _send(out, {"opened": _opened(stream)})
        while True:
            if (reading := stream.read(_READ_SLICE_S)) is not None:
                _send_frame(out, reading)
    except StreamError as error:
        _send(out, {"failure": {"cause": error.cause.value, "detail": error.detail}})


def _opened(stream: Stream) -> dict[str, Any]:
    backing = dataclasses.asdict(stream.backing)
    backing["reason"] += "; in a process of its own"
    return {"backing": backing, "rate_hz": stream.rate_hz, "paced": stream.paced, "problems": []}


def _send_frame(out: BinaryIO, reading: Reading) -> None:
    image = reading.image_bgr
    frame: dict[str, Any] = dataclasses.asdict(dataclasses.replace(reading, image_bgr=None))
    frame |= {"bytes": 0, "shape": None}
    if image is None:
        _send(out, {"frame": frame})
        return
    pixels = np.ascontiguousarray(image)
    _send(out, {"frame": frame | {"bytes": pixels.nbytes, "shape": pixels.shape}}, pixels)


def _send(out: BinaryIO, line: dict[str, Any], pixels: Any = b"") -> None:
    out.write(json.dumps(line).encode() + b"\n")
    out.write(pixels)
    out.flush()
