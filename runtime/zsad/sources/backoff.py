"""How long to wait before a lost source is opened again."""

from __future__ import annotations

import random

from zsad.sources.config import BackoffConfig


class Backoff:
    """Waits that double up to a cap, each drawn between its half and its whole.

    The draw keeps many cameras behind one switch from coming back in step.
    """

    def __init__(self, config: BackoffConfig, random_numbers: random.Random) -> None:
        """Start with the shortest wait."""
        self._config = config
        self._random = random_numbers
        self._ceiling_s = config.base_s
        self.last_s = 0.0

    def next_s(self) -> float:
        """Return the next wait in seconds."""
        self.last_s = self._random.uniform(0.5, 1.0) * self._ceiling_s
        self._ceiling_s = min(self._config.cap_s, 2 * self._ceiling_s)
        return self.last_s

    def lived(self, seconds: float) -> None:
        """Take note of a connection that gave frames for so long.

        Only one that outlived the wait before it resets the waits: a source that gives one frame
        and dies must not be hammered.
        """
        if seconds > self.last_s:
            self._ceiling_s = self._config.base_s
