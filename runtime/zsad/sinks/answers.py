"""What the status server answers at each of its paths."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zsad.line.status import LineState
from zsad.schema import to_json
from zsad.sinks.metrics import render
from zsad.sinks.pulse import Reading

_MUST_MOVE = (LineState.RUNNING, LineState.DEGRADED, LineState.FAULT)

Snapshot = Callable[[], "bytes | None"]
"""Returns the newest part's picture as a JPEG file; None where there is none."""


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes
    kind: str = "text/plain; charset=utf-8"


def _health(reading: Reading, snapshot: Snapshot) -> Answer:
    """Alive: the line answers, and its engine moves once it is loaded; a restart mends the rest."""
    status = reading.status
    if status is None or (status.state in _MUST_MOVE and not reading.moving):
        return _lines(503, reading.doubts)
    return Answer(200, b"ok\n")


def _ready(reading: Reading, snapshot: Snapshot) -> Answer:
    return Answer(200, b"ok\n") if reading.trusted else _lines(503, reading.doubts)


def _metrics(reading: Reading, snapshot: Snapshot) -> Answer:
    return Answer(200, *render(reading))


def _status(reading: Reading, snapshot: Snapshot) -> Answer:
    told = {"schema": 1, "trusted": reading.trusted, "doubts": reading.doubts}
    body = json.dumps({**told, "status": to_json(reading.status)}, allow_nan=False)
    return Answer(200, body.encode() + b"\n", "application/json")


def _picture(reading: Reading, snapshot: Snapshot) -> Answer:
    if not reading.trusted:  # the picture has a verdict written on it
        return _lines(503, reading.doubts)
    picture = snapshot()
    if picture is None:
        return Answer(404, b"of the newest part there is no picture\n")
    return Answer(200, picture, "image/jpeg")


def _lines(status: int, lines: tuple[str, ...]) -> Answer:
    return Answer(status, "".join(f"{line}\n" for line in lines).encode())


ROUTES: Mapping[str, Callable[[Reading, Snapshot], Answer]] = {
    "/healthz": _health,
    "/readyz": _ready,
    "/metrics": _metrics,
    "/status": _status,
    "/snapshot.jpg": _picture,
}
"""How each path is answered; there is no other."""
