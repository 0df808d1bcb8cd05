"""Which frames of a source are wanted: all, every n-th, or the first after each trigger."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from zsad.sources.config import TriggerMode


@dataclass(frozen=True)
class Admission:
    """Whether a frame is wanted.

    Attributes:
        reason: Why it is not; None where it is.
        trigger: The trigger that it answers.
    """

    reason: str | None = None
    trigger: str | None = None


class TriggerGate:
    """Decides about frames in the order in which they were captured; safe between threads."""

    def __init__(self, mode: TriggerMode, every_n: int, delay_s: float = 0.0) -> None:
        """Begin without a trigger.

        Args:
            mode: Which frames are wanted.
            every_n: The n of `every-n`.
            delay_s: Seconds from a frame's exposure to its arrival, see
                `CameraConfig.trigger_delay_ms`.
        """
        self._mode = mode
        self._every_n = every_n
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._pending: deque[tuple[str, float]] = deque()
        self._seen = 0

    def trigger(self, trigger_id: str, now_s: float, limit: int) -> bool:
        """Ask for the first frame exposed from now on; False if `limit` wait, or none can."""
        with self._lock:
            if self._mode != "software" or len(self._pending) >= limit:
                return False
            self._pending.append((trigger_id, now_s))
            return True

    def admit(self, captured_s: float) -> Admission:
        """Decide about the next frame, which arrived at `captured_s`."""
        with self._lock:
            if self._mode == "software":
                # A frame from before the trigger shows the part that was there before.
                exposed_s = captured_s - self._delay_s
                if not self._pending or self._pending[0][1] > exposed_s:
                    return Admission("untriggered")
                return Admission(trigger=self._pending.popleft()[0])
            self._seen += 1
            skipped = self._mode == "every-n" and (self._seen - 1) % self._every_n
            return Admission("skipped" if skipped else None)

    def oldest_s(self) -> float | None:
        """Return when the trigger that waits longest came, in seconds of the monotonic clock."""
        with self._lock:
            return self._pending[0][1] if self._pending else None

    def forget(self) -> tuple[str, ...]:
        """Give up every waiting trigger: its part is gone when the source comes back."""
        with self._lock:
            lost = tuple(trigger_id for trigger_id, _ in self._pending)
            self._pending.clear()
            return lost
