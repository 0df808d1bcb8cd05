"""How long to wait before the next attempt."""

from __future__ import annotations

import random

from zsad.sinks.config import BackoffConfig


class Backoff:
    """Delays that double with every failure up to a cap, each drawn between half of it and all.

    The draw keeps a hundred lines that lost one broker from coming back to it in one moment.
    """

    def __init__(self, config: BackoffConfig, draw: random.Random | None = None) -> None:
        """Begin with the shortest delay; `draw` makes tests repeatable."""
        self._config = config
        self._draw = draw or random.Random()
        self._failures = 0

    def next_s(self) -> float:
        """Count a failure and return how many seconds to wait after it."""
        # 2**30 s is beyond any cap; without the limit the power overflows after days of failures.
        delay_s = self._config.first_s * 2.0 ** min(self._failures, 30)
        self._failures += 1
        return min(delay_s, self._config.cap_s) * self._draw.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin with the shortest delay again."""
        self._failures = 0
