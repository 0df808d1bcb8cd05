"""The one thread that owns the engine: frames from many cameras in, judged frames out.

Cameras are asked in turn and never waited for: one that hangs is one that has nothing to give. A
batch takes at most one frame of each camera per turn, so that a camera with a long queue cannot
keep the others from being judged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from zsad.line.accounts import Accounts
from zsad.line.config import EngineConfig
from zsad.line.judge import Identity, Judged, Taken, silent_view
from zsad.sources import Camera


class Judges(Protocol):
    """Who judges which camera at the moment."""

    def identity(self, camera: str) -> Identity:
        """What records of this camera name as their judge."""

    def judge(self, taken: Sequence[Taken]) -> list[Judged]:
        """Judge frames of any cameras, and say of each that cannot be judged why."""

    def is_well(self) -> bool:
        """Whether the engine answered when it was last asked."""

    def check(self) -> None:
        """Do one piece of self-examination, as long as one inference."""

    def close(self) -> None:
        """Free every engine."""


class Batcher:
    """Takes frames from cameras in turn, up to a number and for at most a time."""

    def __init__(self, cameras: Sequence[Camera], accounts: Accounts, config: EngineConfig) -> None:
        """Ask `cameras` in this order."""
        self._cameras = cameras
        self._accounts = accounts
        self._config = config
        self._turn = 0
        self._wake = threading.Event()

    def wake(self) -> None:
        """Say that a camera has something to give; any thread may."""
        self._wake.set()

    def next(
        self, identity: Callable[[str], Identity], stop: threading.Event, idle_s: float
    ) -> list[Taken]:
        """Return the next frames; none where no camera gave any within `idle_s`, or at a stop."""
        batch: list[Taken] = []
        until_s = time.monotonic() + idle_s
        while not stop.is_set():
            self._wake.clear()
            had = len(batch)
            self._fill(batch, identity)
            if len(batch) == self._config.max_batch:
                break
            if batch and not had:
                until_s = time.monotonic() + self._config.max_wait_ms / 1e3
            remaining_s = until_s - time.monotonic()
            if remaining_s <= 0:
                break
            self._wake.wait(remaining_s)
        return batch

    def _fill(self, batch: list[Taken], identity: Callable[[str], Identity]) -> None:
        empty = 0
        while len(batch) < self._config.max_batch and empty < len(self._cameras):
            camera = self._cameras[self._turn]
            self._turn = (self._turn + 1) % len(self._cameras)
            found = self._accounts.take(camera.name, camera.take)
            if found is None:
                empty += 1
                continue
            empty = 0
            ticket, frame = found
            batch.append(Taken(ticket, frame, identity(camera.name)))


class Engine:
    """Judges batch after batch until it is asked to stop; see the module."""

    def __init__(
        self,
        open_judges: Callable[[], Judges],
        batcher: Batcher,
        begun: Callable[[Sequence[Taken]], None],
        judged: Callable[[Sequence[Judged]], None],
        beat: Callable[[], None],
        ready: Callable[[], None],
        takt_ms: float | None = None,
        idle_s: float = 1.0,
    ) -> None:
        """Join the parts.

        Args:
            open_judges: Loads the engines; called in the engine's own thread, which owns them.
            batcher: Where frames come from.
            begun: Told of frames before they are judged.
            judged: Given the same frames afterwards.
            beat: Told of every piece of real progress.
            ready: Told once, when the engines are warm.
            takt_ms: A frame older than this is not judged any more; None judges all.
            idle_s: Without frames, the engine examines itself this often.
        """
        self._open_judges = open_judges
        self._batcher = batcher
        self._begun = begun
        self._judged = judged
        self._beat = beat
        self._ready = ready
        self._takt_ms = takt_ms
        self._idle_s = idle_s
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask it to end; the frames that it has taken are judged first."""
        self._stop.set()
        self._batcher.wake()

    def run(self) -> None:
        """Load the engines, then judge until `stop`; the work of the engine's thread."""
        judges = self._open_judges()
        try:
            self._ready()
            while not self._stop.is_set():
                batch = self._batcher.next(judges.identity, self._stop, self._idle_s)
                if batch:
                    self._begun(batch)
                    self._judged(self._judge(judges, batch))
                elif not self._stop.is_set():
                    judges.check()
                if judges.is_well():
                    self._beat()
        finally:
            judges.close()

    def _judge(self, judges: Judges, batch: Sequence[Taken]) -> list[Judged]:
        old = [(taken, self._too_old(taken)) for taken in batch]
        judged = judges.judge([taken for taken, reason in old if reason is None])
        judged += [Judged(t, silent_view(t, reason)) for t, reason in old if reason is not None]
        return judged

    def _too_old(self, taken: Taken) -> str | None:
        age_ms = (taken.ticket.taken_s - taken.frame.captured_s) * 1e3
        if self._takt_ms is None or age_ms <= self._takt_ms:
            return None
        return (
            f"the frame was {age_ms:.0f} ms old when its turn came, the takt is"
            f" {self._takt_ms:g} ms"
        )
