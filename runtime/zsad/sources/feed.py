"""Hands frames from a capture thread to whoever judges, and accounts for every one."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable

from zsad.sources.base import Frame
from zsad.sources.config import Policy
from zsad.sources.health import Counts


class Feed:
    """A mailbox with one slot, or a bounded queue: captured = taken + dropped + waiting, always.

    With `latest` a newer frame displaces the one that waits. With `every` the frames queue up; a
    full queue holds a lossless source up, and drops a live one's oldest frame.
    """

    def __init__(
        self,
        policy: Policy,
        size: int = 1,
        lossless: bool = False,
        on_frame: Callable[[], None] = lambda: None,
    ) -> None:
        """Make an empty feed; `on_frame` is called by the thread that puts."""
        self._size = size if policy == "every" else 1
        self._lossless = lossless and policy == "every"
        self._on_frame = on_frame
        self._changed = threading.Condition()
        self._waiting: deque[Frame] = deque()
        self._captured = 0
        self._taken = 0
        self._dropped: Counter[str] = Counter()
        self._closed = False

    @property
    def counts(self) -> Counts:
        """The accounts, all of one moment."""
        with self._changed:
            return Counts(self._captured, self._taken, dict(self._dropped), len(self._waiting))

    @property
    def next_number(self) -> int:
        """The number of the next frame, from 0."""
        with self._changed:
            return self._captured

    def put(self, frame: Frame) -> None:
        """Offer a frame; with a lossless source, wait for room."""
        with self._changed:
            if self._lossless:
                self._changed.wait_for(lambda: self._closed or len(self._waiting) < self._size)
            self._captured += 1
            if self._closed:
                self._dropped["closed"] += 1
                return
            if len(self._waiting) == self._size:
                self._waiting.popleft()
                self._dropped["displaced"] += 1
            self._waiting.append(frame)
        self._on_frame()

    def drop(self, reason: str) -> None:
        """Account for a frame that came and is not offered."""
        with self._changed:
            self._captured += 1
            self._dropped[reason] += 1

    def take(self) -> Frame | None:
        """Return the next frame to judge, or None; never waits."""
        with self._changed:
            if not self._waiting:
                return None
            self._taken += 1
            self._changed.notify_all()
            return self._waiting.popleft()

    def close(self) -> None:
        """Drop what waits and all that still comes; let a thread go that waits for room."""
        with self._changed:
            self._closed = True
            if self._waiting:
                self._dropped["closed"] += len(self._waiting)
                self._waiting.clear()
            self._changed.notify_all()
