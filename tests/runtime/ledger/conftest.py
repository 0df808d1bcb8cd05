from dataclasses import replace

import numpy as np
import pytest

from zsad.images import frame_sha256
from zsad.ledger import Picture
from zsad.line.record import VerdictRecord, ViewRecord

VIEW = ViewRecord(
    camera="top",
    frame="0",
    frame_sha256=None,
    verdict="OK",
    reason=None,
    score=0.25,
    p_value=0.5,
    threshold=0.5,
    score_kind="graph",
    artifact="a" * 64,
    graph="b" * 64,
    backend="cpu",
)
RECORD = VerdictRecord(
    seq=0,
    line="housing",
    part="",
    verdict="OK",
    reason=None,
    views=(),
    captured_utc="2026-11-26T08:00:00.000+00:00",
    decided_utc="2026-11-26T08:00:00.040+00:00",
    capture_to_verdict_ms=40.0,
)


def verdict_of(part, verdict="OK", frames=(), **view):
    """A verdict with a view for each frame, or one without a frame."""
    views = tuple(
        replace(
            VIEW,
            verdict=verdict,
            frame_sha256=None if frame is None else frame_sha256(frame),
            **view,
        )
        for frame in (frames or (None,))
    )
    return replace(RECORD, part=str(part), verdict=verdict, views=views)


def frame_of(seed, height=24, width=32):
    """(height, width, 3) uint8 noise that no encoder makes smaller by much."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def make_verdict():
    """Return `make(part, verdict="OK", frames=(), **fields of its views) -> VerdictRecord`."""
    return verdict_of


@pytest.fixture
def make_frame():
    """Return `make(seed, height=24, width=32) -> frame`."""
    return frame_of


@pytest.fixture
def commit_part(make_verdict, make_frame):
    """Return `commit(ledger, part, verdict="OK") -> record`, with one frame and a heat map."""

    def commit(ledger, part, verdict="OK"):
        frame = make_frame(int(part))
        record = make_verdict(part, verdict, [frame])
        return ledger.commit(record, [Picture(0, frame, b"\xff\xd8heat")])

    return commit


class FakeClocks:
    """Clocks that a test sets."""

    def __init__(self):
        self.boot, self.since_boot_s, self.wall = "boot-1", 100.0, 1_800_000_000.0

    def boot_id(self):
        return self.boot

    def boot_s(self):
        return self.since_boot_s

    def wall_s(self):
        return self.wall

    def advance(self, seconds):
        self.since_boot_s += seconds
        self.wall += seconds

    def reboot(self, off_s):
        self.boot, self.since_boot_s = self.boot + "+", 5.0
        self.wall += off_s


@pytest.fixture
def clocks():
    return FakeClocks()
