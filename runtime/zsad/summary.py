"""What a run came to, counted as it goes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from zsad.results import ResultRow
from zsad.types import Verdict

_LATENCIES_KEPT = 100_000


@dataclass
class RunSummary:
    """What happened in a run; captured = judged + dropped once it is over.

    Attributes:
        verdicts: Rows per verdict.
        captured: Frames that the source read.
        dropped: Frames that no one judged since a newer one had come.
        seconds: Duration of the run.
        first_reason: Why the first frame without a result had none.
        latency_ms: Per stage, the latencies of the last 100 000 frames with a result.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    captured: int = 0
    dropped: int = 0
    seconds: float = 0.0
    first_reason: str | None = None
    latency_ms: dict[str, deque[float]] = field(default_factory=dict)

    @property
    def judged(self) -> int:
        """Rows written, those without a result included."""
        return sum(self.verdicts.values())

    @property
    def with_result(self) -> int:
        """Rows that say something about their frame."""
        return self.judged - self.verdicts[Verdict.NO_RESULT.value]

    def add(self, row: ResultRow) -> None:
        """Count a row."""
        self.verdicts[row.verdict] += 1
        if self.first_reason is None:
            self.first_reason = row.reason
        for stage, value in row.latency_ms.items():
            self.latency_ms.setdefault(stage, deque(maxlen=_LATENCIES_KEPT)).append(value)

    def percentiles_ms(self, *percents: float) -> Mapping[str, tuple[float, ...]]:
        """Return the given percentiles of each stage's latency, in milliseconds."""
        return {
            stage: tuple(float(p) for p in np.percentile(np.fromiter(values, float), percents))
            for stage, values in self.latency_ms.items()
        }
