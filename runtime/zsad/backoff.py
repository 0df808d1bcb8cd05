"""How long to wait before the next attempt, at a camera or a consumer that was lost."""

from __future__ import annotations

import random
from dataclasses import dataclass

from zsad.errors import InputError


@dataclass(frozen=True)
class BackoffConfig:
    """How long to wait after each failure, for ever.

    Attributes:
        first_s: Longest wait before the first attempt; it doubles with each that fails.
        cap_s: Longest wait ever.
    """

    first_s: float = 0.5
    cap_s: float = 30.0

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 < self.first_s <= self.cap_s:
            raise InputError(
                f"backoff: first_s {self.first_s:g} must be above 0 and not above cap_s"
                f" {self.cap_s:g}"
            )


class Backoff:
    """Waits that double up to a cap, each drawn between its half and its whole.

    The draw keeps all that lost one switch or broker from coming back in step.
    """

    def __init__(self, config: BackoffConfig, draw: random.Random | None = None) -> None:
        """Begin with the shortest wait; `draw` makes tests repeatable."""
        self._config = config
        self._draw = draw or random.Random()
        self._ceiling_s = config.first_s
        self.last_s = 0.0

    def next_s(self) -> float:
        """Return the next wait in seconds."""
        self.last_s = self._draw.uniform(0.5, 1.0) * self._ceiling_s
        self._ceiling_s = min(self._config.cap_s, 2 * self._ceiling_s)
        return self.last_s

    def reset(self) -> None:
        """Begin with the shortest wait again."""
        self._ceiling_s = self._config.first_s

    def lived(self, seconds: float) -> None:
        """Take note of a connection that worked for so long.

        Only one that outlived the wait before it resets the waits: a source that gives one frame
        and dies must not be hammered.
        """
        if seconds > self.last_s:
            self.reset()
