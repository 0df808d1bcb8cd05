"""How long to wait before the next attempt, at a camera or a consumer that was lost."""

from __future__ import annotations

import random


class Backoff:
    """Waits that double up to a cap, each drawn between its half and its whole.

    The draw keeps all that lost one switch or broker from coming back in step.
    """

    def __init__(self, first_s: float, cap_s: float, draw: random.Random | None = None) -> None:
        """Begin with the shortest wait; `draw` makes tests repeatable."""
        self._first_s = first_s
        self._cap_s = cap_s
        self._draw = draw or random.Random()
        self._ceiling_s = first_s
        self.last_s = 0.0

    def next_s(self) -> float:
        """Return the next wait in seconds."""
        self.last_s = self._draw.uniform(0.5, 1.0) * self._ceiling_s
        self._ceiling_s = min(self._cap_s, 2 * self._ceiling_s)
        return self.last_s

    def reset(self) -> None:
        """Begin with the shortest wait again."""
        self._ceiling_s = self._first_s

    def lived(self, seconds: float) -> None:
        """Take note of a connection that worked for so long.

        Only one that outlived the wait before it resets the waits: a source that gives one frame
        and dies must not be hammered.
        """
        if seconds > self.last_s:
            self.reset()
