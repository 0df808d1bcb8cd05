"""The measurement behind `latency.py`, as data and as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import machine
from roofline import Roof, graph_flop, measure_roof
from timing import PERCENTILES, Latency, Stages, take_turns
from zsad.backends.table import ON_CPU
from zsad.detector import Detector
from zsad.preprocess import resize_exact
from zsad.text_table import constant_inputs
from zsad.types import ImageU8

SCHEMA = 1


@dataclass(frozen=True)
class Protocol:
    """How it is timed; `threads` None leaves their number to each library."""

    batch: int
    runs: int
    warm_up: int
    threads: int | None
    frame_hw: tuple[int, int]


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
        latencies: One per contender.
        times_faster: Per eager contender and graph, ratio of medians of `total` and `infer`.
        speeds: Per graph.
        machine: What it ran on.
    """

    schema: int
    subject: Mapping[str, str]
    protocol: Protocol
    latencies: tuple[Latency, ...]
    times_faster: Mapping[str, Mapping[str, Mapping[str, float]]]
    speeds: Mapping[str, Speed]
    machine: Mapping[str, Any]


def measure(detectors: Sequence[Detector], protocol: Protocol, ckpt: Path | None) -> Report:
    """Time the graphs of one artifact, and the checkpoint behind them where it is given.

    Raises:
        InputError: The checkpoint cannot be used or belongs to another artifact.
    """
    frames = camera_frames(protocol)
    on_gpu = any(d.backend.name not in ON_CPU for d in detectors)
    graphs = {f"{d.backend.precision} on {d.backend.provider}": d for d in detectors}
    contenders = {name: _run_of(detector, frames) for name, detector in graphs.items()}
    eager = _eager(ckpt, frames, detectors[0], on_gpu, protocol.threads)
    # Before and after, since the machine may be slower at either end.
    roofs = [_roofs(detectors, on_gpu, protocol.threads)]
    found = take_turns(
        {**contenders, **eager}, protocol.runs, protocol.warm_up, batch=protocol.batch
    )
    roofs.append(_roofs(detectors, on_gpu, protocol.threads))
    manifest = detectors[0].artifact.manifest
    return Report(
        schema=SCHEMA,
        subject={
            "artifact": detectors[0].artifact.path.resolve().name,
            "artifact_sha256": detectors[0].artifact.sha256,
            "method": manifest.method.name,
            "backbone": manifest.backbone.name,
            "input": f"{manifest.preprocess.width}x{manifest.preprocess.height}",
        },
        protocol=protocol,
        latencies=tuple(found.values()),
        times_faster={e: {g: _ratio(found[e], found[g]) for g in graphs} for e in eager},
        speeds={
            g: _speed(d, frames, found[g], [r[_in_half(d, on_gpu)] for r in roofs])
            for g, d in graphs.items()
        },
        machine=machine.describe(),
    )


def camera_frames(protocol: Protocol) -> list[ImageU8]:
    """Return a batch of seeded noise of the camera's size, (H, W, 3) uint8 BGR each."""
    rng = np.random.default_rng(0)
    shape = (*protocol.frame_hw, 3)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(protocol.batch)]


def text(report: Report) -> str:
    """Return the report as a table for a terminal."""
    subject, protocol = report.subject, report.protocol
    height, width = protocol.frame_hw
    threads = protocol.threads or "each library's own number of"
    lines = [
        f"{subject['artifact']}: {subject['method']} on {subject['backbone']}, "
        f"input {subject['input']}",
        f"batch {protocol.batch} of {width}x{height} frames, {protocol.runs} runs in turns after "
        f"{protocol.warm_up} for warm-up, {threads} threads; milliseconds per batch",
        "",
        *_latency_lines(report.latencies),
        "",
    ]
    for eager, graphs in report.times_faster.items():
        for graph, ratio in graphs.items():
            lines.append(
                f"{graph} is {ratio['total']:.2f} times as fast as {eager} end to end, "
                f"{ratio['infer']:.2f} times in inference"
            )
    lines += [_speed_line(graph, speed) for graph, speed in report.speeds.items()]
    return "\n".join(lines)


def _run_of(detector: Detector, frames: Sequence[ImageU8]) -> Callable[[], Stages]:
    return lambda: detector.predict_batch(frames)[0].latency_ms


def _eager(
    ckpt: Path | None,
    frames: Sequence[ImageU8],
    detector: Detector,
    on_gpu: bool,
    threads: int | None,
) -> dict[str, Callable[[], Stages]]:
    if ckpt is None:
        return {}
    from eager import eager_contenders  # torch

    spec = detector.artifact.manifest.preprocess
    return eager_contenders(ckpt, frames, spec, on_gpu=on_gpu, threads=threads)


def _ratio(slow: Latency, fast: Latency) -> dict[str, float]:
    return {stage: slow.stages_ms[stage] / fast.stages_ms[stage] for stage in ("total", "infer")}


def _in_half(detector: Detector, on_gpu: bool) -> bool:
    # A CPU runs an FP16 graph in FP32.
    return on_gpu and detector.backend.precision == "fp16"


def _roofs(
    detectors: Sequence[Detector], on_gpu: bool, threads: int | None
) -> dict[bool, Roof | None]:
    kinds = {_in_half(detector, on_gpu) for detector in detectors}
    return {half: measure_roof(on_gpu, half, threads) for half in sorted(kinds)}


def _speed(
    detector: Detector, frames: Sequence[ImageU8], latency: Latency, roofs: Sequence[Roof | None]
) -> Speed:
    spec = detector.artifact.manifest.preprocess
    batch = np.stack([resize_exact(frame, spec) for frame in frames])  # (N, H, W, 3)
    graph = detector.artifact.file(detector.graph.file)
    gflop = graph_flop(graph, {"image": batch, **constant_inputs(detector.artifact)}) / 1e9
    reached = gflop / latency.stages_ms["infer"] * 1e3
    roof = max((r for r in roofs if r), key=lambda r: r.gflop_per_s, default=None)
    return Speed(gflop, reached, roof, None if roof is None else reached / roof.gflop_per_s)


def _latency_lines(latencies: Sequence[Latency]) -> list[str]:
    stages = ("preprocess", "infer", "post")
    head = ["", *(f"p{p}" for p in PERCENTILES), *stages, "frames/s"]
    rows = [head]
    for latency in latencies:
        figures = [*latency.total_ms.values(), *(latency.stages_ms[s] for s in stages)]
        rows.append([latency.name, *(f"{v:.1f}" for v in figures), f"{latency.frames_per_s:.2f}"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]


def _speed_line(graph: str, speed: Speed) -> str:
    line = f"{graph}: {speed.gflop:.2f} GFLOP a batch at {speed.gflop_per_s:.0f} GFLOP/s"
    if speed.roof is None:
        return line
    return f"{line}, {speed.share_of_roof:.0%} of {speed.roof.gflop_per_s:.0f} ({speed.roof.by})"
