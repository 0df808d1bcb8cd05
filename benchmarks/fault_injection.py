"""One fault at a time, put into a camera that runs in a process of its own, and what is seen of it.

See `fault_cameras.py` for the cameras.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_cameras import Process, start_camera
from fault_scenarios import Scenario
from zsad.sources import BackoffConfig, Camera, CameraConfig, Frame, open_camera
from zsad.sources.health import SourceState

_STEP_S = 0.01

Judge = Callable[[Frame], Any]


@dataclass(frozen=True)
class Limits:
    """Time-outs of the camera that is tested, all in seconds."""

    stall_s: float = 1.0
    open_timeout_s: float = 3.0
    backoff_base_s: float = 0.1
    backoff_cap_s: float = 0.5
    patience_s: float = 30.0


@dataclass(frozen=True)
class Outcome:
    """What was seen of one fault.

    Attributes:
        name: Camera and fault.
        states: States and causes, in order, from the fault to the recovery.
        cause: The expected cause that was seen; None where none was expected.
        detect_s: From the fault to the first state that is not live; None where it stayed live.
        cause_s: From the fault to the expected cause.
        recover_s: From the repair to the first frame that was judged.
        threads_left: Threads that are there more than before.
        descriptors_left: Open files that are there more than before.
        children_left: Child processes that are there more than before.
        accounts_hold: Whether captured = taken + dropped + waiting in every look at it.
    """

    name: str
    states: tuple[str, ...]
    cause: str | None
    detect_s: float | None
    cause_s: float | None
    recover_s: float
    threads_left: int
    descriptors_left: int
    children_left: int
    accounts_hold: bool


def inject(
    scenario: Scenario, judge: Judge = lambda frame: frame, limits: Limits = Limits()
) -> Outcome:
    """Put one fault into a running camera, take it out again, and return what was seen.

    Raises:
        AssertionError: It was not seen, or not recovered from, in time.
    """
    threads, descriptors, children = threading.active_count(), _descriptors(), _children()
    with _running(scenario, limits) as (process, watched):
        watched.judged_after(0.0, judge)
        seen = watched.fault(scenario, process)
        recover_s = watched.repair(scenario, process, judge)
        outcome = watched.camera.transitions
    return Outcome(
        name=scenario.name,
        states=tuple(
            f"{t.state.value}{f' ({t.cause.value})' if t.cause else ''}"
            for t in outcome
            if t.at_s >= seen.begun_s
        ),
        cause=seen.cause,
        detect_s=seen.detect_s,
        cause_s=seen.cause_s,
        recover_s=round(recover_s, 3),
        threads_left=_settled(threading.active_count, threads),
        descriptors_left=_settled(_descriptors, descriptors),
        children_left=_settled(_children, children),
        accounts_hold=watched.accounts_hold,
    )


@dataclass(frozen=True)
class _Seen:
    begun_s: float
    cause: str | None
    detect_s: float | None
    cause_s: float | None


class _Watched:
    """A camera under test, and the looks at it."""

    def __init__(self, camera: Camera, limits: Limits) -> None:
        self.camera = camera
        self.accounts_hold = True
        self._limits = limits

    def judged_after(self, begun_s: float, judge: Judge) -> float:
        """Judge frames until one was captured after `begun_s`; return when that was judged."""
        frame = self._until(lambda: self._take_after(begun_s), "a good frame")
        judge(frame)
        return time.monotonic()

    def fault(self, scenario: Scenario, process: Process) -> _Seen:
        begun_s = time.monotonic()
        process.obey(scenario.order)
        if not scenario.causes:
            taken = self.camera.health.counts.captured
            enough = taken + 15
            self._until(lambda: self.camera.health.counts.captured > enough, "fifteen frames")
            return _Seen(begun_s, None, None, None)
        self._until(lambda: self.camera.health.state is not SourceState.LIVE, "a state")
        detect_s = time.monotonic() - begun_s
        cause = self._until(lambda: self._cause(scenario, begun_s), " or ".join(scenario.causes))
        return _Seen(begun_s, cause, round(detect_s, 3), round(time.monotonic() - begun_s, 3))

    def repair(self, scenario: Scenario, process: Process, judge: Judge) -> float:
        if scenario.order.startswith("password"):
            process.obey("password secret")
        begun_s = time.monotonic()
        if scenario.repair:
            process.obey(scenario.repair)
        return self.judged_after(begun_s, judge) - begun_s

    def _cause(self, scenario: Scenario, begun_s: float) -> str | None:
        seen = (t.cause.value for t in self.camera.transitions if t.cause and t.at_s >= begun_s)
        return next((cause for cause in seen if cause in scenario.causes), None)

    def _take_after(self, begun_s: float) -> Frame | None:
        frame = self.camera.take()
        fresh = frame is not None and frame.captured_s > begun_s and frame.image_bgr is not None
        return frame if fresh else None

    def _until(self, condition: Callable[[], Any], what: str) -> Any:
        end_s = time.monotonic() + self._limits.patience_s
        while not (found := condition()):
            counts = self.camera.health.counts
            accounted = counts.taken + sum(counts.dropped.values()) + counts.waiting
            self.accounts_hold &= counts.captured == accounted
            assert time.monotonic() < end_s, f"{what} did not come: {self.camera.health}"
            time.sleep(_STEP_S)
        return found


@contextlib.contextmanager
def _running(scenario: Scenario, limits: Limits) -> Iterator[tuple[Process, _Watched]]:
    process, address = start_camera(scenario.camera)
    config = CameraConfig(
        name="camera",
        source=address,
        stall_s=limits.stall_s,
        open_timeout_s=limits.open_timeout_s,
        backoff=BackoffConfig(limits.backoff_base_s, limits.backoff_cap_s),
        isolate=scenario.isolate,
    )
    camera = open_camera(config)
    camera.start()
    try:
        yield process, _Watched(camera, limits)
    finally:
        camera.close()
        process.close()


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _children() -> int:
    lists = Path("/proc/self/task").glob("*/children")
    return sum(len(children.read_text().split()) for children in lists)


def _settled(count: Callable[[], int], base: int) -> int:
    """What is left over `base` once it has had a moment to go."""
    end_s = time.monotonic() + 5.0
    while (left := count() - base) > 0 and time.monotonic() < end_s:
        time.sleep(_STEP_S)
    return left
