"""From the start of a process to its first verdict, each time in a process of its own.

What the operating system has read before stays in its cache, so this is the start of a daemon on a
machine that runs, not of a machine that was off.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zsad.errors import InferenceError

STAGES = ("import", "load", "first", "total", "second")


@dataclass(frozen=True)
class Start:
    """What a process is to start with; `threads` None leaves their number to the engine."""

    artifact: str
    precision: str
    backend: str
    threads: int | None
    frame_hw: tuple[int, int]


@dataclass(frozen=True)
class ColdStart:
    """How long processes took from their start to the first verdict.

    Attributes:
        runs: Processes.
        stages_ms: Medians. `import`: the interpreter and the package. `load`: hashing the
            artifact's files and loading the graph. `first`: the first frame, from camera size to
            verdict. `total`: all of these. `second`: the next frame, for comparison.
        slowest_ms: The largest `total`.
        peak_mb: Largest resident memory of such a process, in 10^6 bytes, median. A GPU's own
            memory is not in it.
    """

    runs: int
    stages_ms: Mapping[str, float]
    slowest_ms: float
    peak_mb: float


def measure_cold_starts(starts: Mapping[str, Start], runs: int) -> dict[str, ColdStart]:
    """Start a process for each, in turns, `runs` times over.

    Raises:
        InferenceError: A process failed.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in starts}
    for _ in range(runs):
        for name, start in starts.items():
            found[name].append(_in_a_process(start))
    return {name: _summary(rows) for name, rows in found.items()}


def _summary(rows: Sequence[Mapping[str, float]]) -> ColdStart:
    return ColdStart(
        runs=len(rows),
        stages_ms={stage: float(np.median([row[stage] for row in rows])) for stage in STAGES},
        slowest_ms=max(row["total"] for row in rows),
        peak_mb=float(np.median([row["peak_mb"] for row in rows])),
    )


def _in_a_process(start: Start) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # The monotonic clock is the machine's, so the child can tell when its parent began.
    order = json.dumps({**asdict(start), "began": time.monotonic()})
    done = subprocess.run(
        [sys.executable, __file__, order], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InferenceError(f"the process that was started anew failed: {said}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _child(order: dict[str, Any]) -> dict[str, float]:
    from zsad.detector import Detector

    frame = np.full((*order["frame_hw"], 3), 127, np.uint8)
    stamps = [order["began"], time.monotonic()]
    detector = Detector.load(
        Path(order["artifact"]),
        precision=order["precision"],
        backend=order["backend"],
        threads=order["threads"],
    )
    stamps.append(time.monotonic())
    for _ in range(2):
        detector.predict(frame)
        stamps.append(time.monotonic())
    from machine import own_peak_bytes

    begun, imported, loaded, first, second = (1e3 * stamp for stamp in stamps)
    return {
        "import": imported - begun,
        "load": loaded - imported,
        "first": first - loaded,
        "total": first - begun,
        "second": second - first,
        "peak_mb": own_peak_bytes() / 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]))))
