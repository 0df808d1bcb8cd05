"""Where the time of a batch went."""

from __future__ import annotations

import time
from collections.abc import Mapping

STAGES = ("preprocess", "infer", "post")


class Stages:
    """Adds up the time of each stage; stages may take turns, as they do over tiles."""

    def __init__(self) -> None:
        """Start the clock."""
        self._last = time.perf_counter()
        self._spent_s = dict.fromkeys(STAGES, 0.0)

    def over(self, stage: str) -> None:
        """Count the time since the last call, or the start, as the stage's."""
        now = time.perf_counter()
        self._spent_s[stage] += now - self._last
        self._last = now

    @property
    def latency_ms(self) -> Mapping[str, float]:
        """Milliseconds by stage, and their `total`."""
        found = {stage: spent * 1e3 for stage, spent in self._spent_s.items()}
        return {**found, "total": sum(found.values())}
