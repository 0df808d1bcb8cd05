"""What a process and its children hold over time, and whether it grows: read from /proc alone."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Resource = Literal["rss_mb", "fds", "threads"]
Judgement = Literal["within", "leaks", "not shown"]

LIMITS_PER_H: Mapping[Resource, float] = {"rss_mb": 4.0, "fds": 2.0, "threads": 1.0}
"""Growth per hour that is allowed: 4 MB is 100 MB a day, 2 descriptors are 1024 in three weeks."""

FLOORS: Mapping[Resource, float] = {"rss_mb": 10.0, "fds": 3.0, "threads": 2.0}
"""Growth over the whole run, below which none is called a leak: pools and caches that fill late."""

WARM_UP = 0.25
"""Share of the run that is left out: caches, arenas and pools fill in it."""

BLOCKS = 24
"""Medians that the slope is taken through, so that neighbours in time are all but independent."""

_Z95 = 1.96
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """What a process and all it started held at one moment.

    Attributes:
        at_s: Seconds since the run began.
        rss_mb: Resident memory, in megabytes.
        fds: Open file descriptors.
        threads: Threads.
        verdicts: Verdicts in the ledger; None where there is none.
    """

    at_s: float
    rss_mb: float
    fds: int
    threads: int
    verdicts: int | None = None


@dataclass(frozen=True)
class Growth:
    """How one resource grew, by Theil and Sen, with its 95 % interval.

    Attributes:
        per_h: Median slope.
        low: Lower end.
        high: Upper end.
        limit_per_h: What is allowed.
        judgement: `leaks` where even the lower end is above the limit and all growth above its
            floor, `within` where the upper end is not above the limit; `not shown` where the run
            was too short to tell.
    """

    per_h: float
    low: float
    high: float
    limit_per_h: float
    judgement: Judgement


def read_process(pid: int, at_s: float, verdicts: int | None = None) -> Sample:
    """Add up a process and its descendants.

    Raises:
        ProcessLookupError: It is gone.
    """
    rss, fds, threads = 0, 0, 0
    for each in _family(pid):
        try:
            rss += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * _PAGE
            fds += len(os.listdir(f"/proc/{each}/fd"))
            threads += len(os.listdir(f"/proc/{each}/task"))
        except (FileNotFoundError, ProcessLookupError):
            if each == pid:
                raise ProcessLookupError(f"process {pid} is gone") from None
    return Sample(at_s, rss / 1e6, fds, threads, verdicts)


def growths(
    samples: Sequence[Sample], limits_per_h: Mapping[Resource, float] = LIMITS_PER_H
) -> dict[Resource, Growth]:
    """Return how each resource grew after the warm-up.

    Raises:
        ValueError: There are fewer than three samples after it.
    """
    first, last = samples[0].at_s, samples[-1].at_s
    kept = [each for each in samples if each.at_s >= first + WARM_UP * (last - first)]
    hours = np.array([each.at_s for each in kept]) / 3600
    return {
        resource: growth(
            hours,
            np.array([float(getattr(each, resource)) for each in kept]),
            limit,
            FLOORS[resource],
        )
        for resource, limit in limits_per_h.items()
    }


def growth(hours: Array, values: Array, limit_per_h: float, floor: float = 0.0) -> Growth:
    """Return the slope of `values` (N,) over `hours` (N,), ascending, through block medians."""
    if len(values) < 3:
        raise ValueError(f"{len(values)} samples have no trend: run longer")
    count = min(BLOCKS, len(values))
    x = np.array([np.median(part) for part in np.array_split(hours, count)])
    y = np.array([np.median(part) for part in np.array_split(values, count)])
    i, j = np.triu_indices(count, 1)
    slopes = np.sort((y[j] - y[i]) / (x[j] - x[i]))
    # Sen (1968): the interval's ends are order statistics of the slopes, by Kendall's variance.
    spread = _Z95 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    below = max(0, math.floor((len(slopes) - spread) / 2))
    low, high = float(slopes[below]), float(slopes[len(slopes) - 1 - below])
    judgement: Judgement = "not shown"
    if low > limit_per_h and np.median(slopes) * (x[-1] - x[0]) > floor:
        judgement = "leaks"
    elif high <= limit_per_h:
        judgement = "within"
    return Growth(float(np.median(slopes)), low, high, limit_per_h, judgement)


def _family(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                waiting += map(int, children.read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue  # a thread that ended meanwhile
    return found
