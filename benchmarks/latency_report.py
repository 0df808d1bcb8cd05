"""What `latency.py` found, as data that is written to JSON and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cold_start import ColdStart
from roofline import Roof
from throughput import Throughput
from timing import PAUSE_S, Latency
from zsad.errors import InputError
from zsad.schema import from_json, read_json

SCHEMA = 2
"""1 had no quartiles, no batches, streams, backends or precisions in its protocol, and neither
throughput, cold starts nor sizes; it is read with those left empty."""

DEVICE_STAGES = ("upload", "compute", "download")
"""Stages of a latency that a GPU's own clock tells, in runs beside those that are timed."""


@dataclass(frozen=True)
class Protocol:
    """Every flag that the figures depend on.

    Attributes:
        batch: Frames of a run, for the latencies.
        runs: Timed runs of each contender.
        warm_up: Runs before them that are not counted.
        threads: Threads of the CPU; None leaves their number to each library.
        frame_hw: Rows and columns of the camera frames.
        batches: Frames of a run, for the throughput.
        streams: Threads that judge at once, for the throughput.
        backends: As asked for; what really ran is in each contender's name.
        precisions: As asked for; none is every graph.
        cold: Processes started anew for each graph.
        eager: Whether a checkpoint ran in PyTorch beside the graphs.
        pause_s: Rest before each run.
    """

    batch: int
    runs: int
    warm_up: int
    threads: int | None
    frame_hw: tuple[int, int]
    batches: tuple[int, ...] = ()
    streams: tuple[int, ...] = ()
    backends: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    cold: int = 0
    eager: bool = False
    pause_s: float = PAUSE_S


@dataclass(frozen=True)
class Speed:
    """Where the inference of one graph stands under the roof.

    Attributes:
        gflop: Arithmetic of one batch, in 10^9 floating-point operations.
        gflop_per_s: That over the median time.
        roof: The best matrix product of the same run in the type that the device computes in, None
            where nothing could measure one.
        share_of_roof: `gflop_per_s` over that.
    """

    gflop: float
    gflop_per_s: float
    roof: Roof | None
    share_of_roof: float | None


@dataclass(frozen=True)
class Report:
    """One run of the benchmark.

    Attributes:
        subject: The artifact: name, hash, method, backbone.
        latencies: One per contender, at the protocol's first batch size.
        times_faster: Per eager contender and graph, ratio of medians of `total` and `infer`.
        speeds: Per graph.
        machine: What it ran on.
        throughput: Per graph, batch size and number of streams, where there were several.
        cold_starts: Per graph, where asked for.
        sizes_mb: Per graph, its files in 10^6 bytes.
        board: What a Jetson's `tegrastats` told during the timed runs, None elsewhere.
    """

    schema: int
    subject: Mapping[str, str]
    protocol: Protocol
    latencies: tuple[Latency, ...]
    times_faster: Mapping[str, Mapping[str, Mapping[str, float]]]
    speeds: Mapping[str, Speed]
    machine: Mapping[str, Any]
    throughput: tuple[Throughput, ...] = ()
    cold_starts: Mapping[str, ColdStart] = field(default_factory=dict)
    sizes_mb: Mapping[str, float] = field(default_factory=dict)
    board: Mapping[str, Any] | None = None


def read_report(path: Path) -> Report:
    """Read what `latency.py --out` wrote, of this schema or an older one.

    Raises:
        InputError: The file is missing, is no such report, or is of a newer schema.
    """
    data = read_json(path, "latency report")
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, int) or "latencies" not in data:
        raise InputError(f"{path} is no report of benchmarks/latency.py: give what --out wrote")
    if schema > SCHEMA:
        raise InputError(f"{path} has schema {schema}, this reads up to {SCHEMA}: update zsad")
    return from_json(Report, data, str(path))
