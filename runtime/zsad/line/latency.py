"""How long each stage takes, counted in fixed buckets: bounded memory, comparable for ever."""

from __future__ import annotations

import bisect
import threading
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from zsad.line.record import ViewRecord
from zsad.line.status import Histogram

# From 10 ms to 3 s each is a quarter more than the one before, or less.
BOUNDS_MS = (
    *(0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 60, 75, 90),
    *(110, 130, 160, 200, 240, 300, 360, 430, 520, 630, 760, 900, 1100, 1300, 1600, 2000),
    *(2500, 3000, 4000, 5000, 7000, 10000, 20000, 60000),
)

_STAGES = {
    "decode": "decoded",
    "queue": "queued",
    "preprocess": "preprocessed",
    "infer": "inferred",
    "judge": "judged",
}


@dataclass(frozen=True)
class Percentiles:
    """What is said of a stage in one line: percentiles from the buckets, the maximum exact."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class Latencies:
    """Counts durations by stage; any thread may add."""

    def __init__(self) -> None:
        """Begin with no stage."""
        self._lock = threading.Lock()
        self._counts: dict[str, list[int]] = {}
        self._sum_ms: dict[str, float] = {}
        self._max_ms: dict[str, float] = {}

    def add(self, stage: str, duration_ms: float) -> None:
        """Count one duration of a stage.

        Raises:
            ValueError: It is negative: the two moments are not of one monotonic clock.
        """
        if not duration_ms >= 0:
            raise ValueError(f"stage {stage} took {duration_ms} ms: not of one monotonic clock")
        with self._lock:
            counts = self._counts.setdefault(stage, [0] * (len(BOUNDS_MS) + 1))
            counts[bisect.bisect_left(BOUNDS_MS, duration_ms)] += 1
            self._sum_ms[stage] = self._sum_ms.get(stage, 0.0) + duration_ms
            self._max_ms[stage] = max(self._max_ms.get(stage, 0.0), duration_ms)

    def histograms(self) -> Mapping[str, Histogram]:
        """Return every stage's histogram, all of one moment."""
        with self._lock:
            return {
                stage: Histogram(BOUNDS_MS, tuple(counts), self._sum_ms[stage])
                for stage, counts in self._counts.items()
            }

    def percentiles(self) -> Mapping[str, Percentiles]:
        """Return every stage's percentiles and maximum."""
        histograms = self.histograms()
        with self._lock:
            longest = dict(self._max_ms)
        return {stage: _percentiles(found, longest[stage]) for stage, found in histograms.items()}


class Captures:
    """When the newest verdicts' parts were captured; its memory is the same from the start."""

    def __init__(self, size: int) -> None:
        """Remember the newest `size` verdicts."""
        self._lock = threading.Lock()
        self._seqs = array("q", bytes(8 * size))
        self._moments_s = array("d", bytes(8 * size))

    def put(self, seq: int, captured_s: float) -> None:
        """Remember a verdict's number and capture, in seconds of the monotonic clock."""
        index = seq % len(self._seqs)
        with self._lock:
            self._seqs[index], self._moments_s[index] = seq, captured_s

    def get(self, seq: int) -> float | None:
        """Return when it was captured; None for one that is too old, or not of this run."""
        index = seq % len(self._seqs)
        with self._lock:
            return self._moments_s[index] if self._seqs[index] == seq else None


def _percentiles(histogram: Histogram, longest_ms: float) -> Percentiles:
    p50_ms, p95_ms, p99_ms = (
        min(quantile_ms(histogram, share), longest_ms) for share in (0.5, 0.95, 0.99)
    )
    return Percentiles(sum(histogram.counts), p50_ms, p95_ms, p99_ms, longest_ms)


def quantile_ms(histogram: Histogram, share: float) -> float:
    """Return the duration that `share` of all stay at or below: the upper bound of its bucket.

    It never flatters: the true quantile is not above it. Above the last bound it is infinite.

    Args:
        histogram: At least one duration.
        share: In (0, 1].
    """
    rank, seen = share * sum(histogram.counts), 0
    for bound, count in zip((*histogram.bounds_ms, float("inf")), histogram.counts, strict=True):
        seen += count
        if seen >= rank and seen > 0:
            return bound
    raise ValueError("the histogram is empty")


def stage_durations_ms(view: ViewRecord) -> dict[str, float]:
    """Return how long each stage of a view took: from the end of the one before it to its own."""
    durations_ms, before_ms = {}, 0.0
    for stage, end in _STAGES.items():
        if end in view.stages_ms:
            # The ends are rounded to a microsecond each, so a stage of none may come out below 0.
            durations_ms[stage] = max(0.0, view.stages_ms[end] - before_ms)
            before_ms = view.stages_ms[end]
    return durations_ms
