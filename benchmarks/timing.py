"""Fair timing: contenders take turns, so that a machine that drifts drifts for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Stages = Mapping[str, float]
"""Milliseconds per stage of one run, `total` among them."""

PAUSE_S = 0.02
"""Between two contenders: thread pools spin for a while after their last task, and would spin on
the cores of whoever comes next."""

PERCENTILES = (25, 50, 75, 90, 95, 99)
"""The quartiles are the spread that a comparison of two runs goes by."""


@dataclass(frozen=True)
class Latency:
    """How long one contender took for a batch.

    Attributes:
        name: The contender.
        runs: Timed runs.
        warm_up: Runs before them that are not counted.
        total_ms: Percentiles of the whole, keyed `p50` and so on, and `max`.
        stages_ms: Median of each stage.
        frames_per_s: Frames of all timed runs over their summed time.
    """

    name: str
    runs: int
    warm_up: int
    total_ms: Mapping[str, float]
    stages_ms: Mapping[str, float]
    frames_per_s: float


def take_turns(
    contenders: Mapping[str, Callable[[], Stages]],
    runs: int,
    warm_up: int,
    batch: int = 1,
    pause_s: float = PAUSE_S,
) -> dict[str, Latency]:
    """Time contenders in turns, A B A B, after all of them have warmed up.

    Args:
        contenders: Each runs once and returns how long its stages took.
        runs: Timed runs of each.
        warm_up: Uncounted runs of each.
        batch: Frames per run.
        pause_s: Seconds of rest before each run.
    """
    stages: dict[str, list[Stages]] = {name: [] for name in contenders}
    for index in range(warm_up + runs):
        for name, run in contenders.items():
            time.sleep(pause_s)
            found = run()
            if index >= warm_up:
                stages[name].append(found)
    return {name: summarise(name, rows, warm_up, batch) for name, rows in stages.items()}


def timed_run(run: Callable[[], object]) -> Callable[[], Stages]:
    """Return what runs `run` once and tells its milliseconds."""

    def timed() -> Stages:
        start = time.perf_counter()
        run()
        return {"total": (time.perf_counter() - start) * 1e3}

    return timed


def summarise(name: str, rows: Sequence[Stages], warm_up: int, batch: int) -> Latency:
    """Return percentiles of the total, medians of the stages and the throughput."""
    totals = [row["total"] for row in rows]
    return Latency(
        name=name,
        runs=len(rows),
        warm_up=warm_up,
        total_ms=percentiles(totals),
        stages_ms={k: float(np.median([row[k] for row in rows])) for k in rows[0]},
        frames_per_s=batch * len(rows) / sum(totals) * 1e3,
    )


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return `PERCENTILES` of some values, keyed `p50` and so on, and their `max`."""
    found = np.percentile(values, PERCENTILES)
    named = {f"p{p}": float(v) for p, v in zip(PERCENTILES, found, strict=True)}
    return {**named, "max": float(max(values))}
