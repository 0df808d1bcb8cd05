"""The measurement behind `latency.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

import jetson
import machine
from cold_start import ColdStart, Start, measure_cold_starts
from latency_report import DEVICE_STAGES, SCHEMA, Protocol, Report, Speed
from roof_products import NumberType
from roofline import Roof, main_shapes, measure_roof, number_type
from throughput import Throughput, measure_throughput
from timing import Latency, Stages, take_turns
from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.backends.device_time import DeviceTimed
from zsad.backends.table import ON_CPU
from zsad.detector import Detector
from zsad.errors import InputError
from zsad.manifest import PRECISIONS, Precision
from zsad.plan.products import Product, graph_products
from zsad.preprocess import resize_exact
from zsad.text_table import constant_inputs
from zsad.types import Array, ImageU8


@dataclass(frozen=True)
class Graph:
    """One graph of the artifact on one backend.

    Attributes:
        detector: Holds it.
        products: The arithmetic of one batch.
        on_gpu: Whether a GPU runs it.
    """

    detector: Detector
    products: tuple[Product, ...]
    on_gpu: bool

    @property
    def backend(self) -> str:
        """The backend's name, which `auto` has been turned into."""
        return self.detector.backend.name

    @property
    def number(self) -> NumberType:
        """What it is computed in."""
        engine = self.detector.backend
        return number_type(engine.precision, engine.provider, on_gpu=self.on_gpu)


def measure(path: Path, protocol: Protocol, ckpt: Path | None) -> Report:
    """Time the graphs of one artifact, and the checkpoint behind them where it is given.

    Raises:
        InputError: The artifact, a precision or a backend cannot be used, or the checkpoint
            belongs to another artifact.
    """
    artifact = Artifact.open(path)
    frames = camera_frames(protocol)
    first = frames[: protocol.batch]
    with ExitStack() as stack:
        graphs = _open_graphs(artifact, protocol, first, stack)
        contenders = {name: _run_of(graph.detector, first) for name, graph in graphs.items()}
        on_gpu = any(graph.on_gpu for graph in graphs.values())
        eager = _eager(ckpt, first, artifact, on_gpu, protocol.threads)
        # Before and after, since the machine may be slower at either end.
        roofs = [_roofs(graphs, protocol.threads)]
        with jetson.watched() as watch:
            found = take_turns(
                {**contenders, **eager}, protocol.runs, protocol.warm_up, batch=protocol.batch
            )
        roofs.append(_roofs(graphs, protocol.threads))
    return Report(
        schema=SCHEMA,
        subject=_subject(artifact),
        protocol=protocol,
        latencies=tuple(found.values()),
        times_faster={e: {g: _ratio(found[e], found[g]) for g in graphs} for e in eager},
        speeds={
            name: _speed(graph.products, found[name], [r[name] for r in roofs])
            for name, graph in graphs.items()
        },
        machine=machine.describe(),
        throughput=_throughput(artifact, graphs, frames, protocol),
        cold_starts=_cold_starts(path, graphs, protocol),
        sizes_mb={name: _size_mb(graph.detector) for name, graph in graphs.items()},
        board=watch.summary(),
    )


def camera_frames(protocol: Protocol) -> list[ImageU8]:
    """Return a batch of seeded noise of the camera's size, (H, W, 3) uint8 BGR each."""
    rng = np.random.default_rng(0)
    shape = (*protocol.frame_hw, 3)
    count = max(protocol.batch, *protocol.batches, 1)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]


def _open_graphs(
    artifact: Artifact, protocol: Protocol, frames: Sequence[ImageU8], stack: ExitStack
) -> dict[str, Graph]:
    feeds = _feeds(artifact, frames)
    present = tuple(p for p in PRECISIONS if p in artifact.manifest.graphs)
    found: dict[str, Graph] = {}
    for precision in cast(tuple[Precision, ...], protocol.precisions or present):
        path = artifact.file(artifact.graph(precision).file)
        products = graph_products(path, feeds)
        for name in protocol.backends:
            detector = _open(artifact, precision, name, protocol)
            stack.enter_context(detector)
            title = _title(detector)
            if title in found:
                raise InputError(f"{title} would be timed twice: name it once")
            on_gpu = detector.backend.name not in ON_CPU
            found[title] = Graph(detector, products, on_gpu)
    return found


def _open(artifact: Artifact, precision: Precision, backend: str, protocol: Protocol) -> Detector:
    most = max(protocol.batch, *protocol.batches, 1)
    engine = open_backend(artifact, precision, backend, protocol.threads, batch=most)
    return Detector(artifact, engine)


def _title(detector: Detector) -> str:
    return f"{detector.backend.precision} on {detector.backend.provider}"


def _run_of(detector: Detector, frames: Sequence[ImageU8]) -> Callable[[], Stages]:
    engine = detector.backend
    if not isinstance(engine, DeviceTimed):
        return lambda: detector.predict_batch(frames)[0].latency_ms
    feeds = _feeds(detector.artifact, frames)

    def run() -> Stages:
        stages = detector.predict_batch(frames)[0].latency_ms
        # A run of its own: the stamps would cost the one that is timed from end to end.
        device = engine.time(feeds)
        spans = (device.upload_ms, device.compute_ms, device.download_ms)
        return {**stages, **dict(zip(DEVICE_STAGES, spans, strict=True))}

    return run


def _feeds(artifact: Artifact, frames: Sequence[ImageU8]) -> dict[str, Array]:
    spec = artifact.manifest.preprocess
    batch = np.stack([resize_exact(frame, spec) for frame in frames])  # (N, H, W, 3)
    return {"image": batch, **constant_inputs(artifact)}


def _eager(
    ckpt: Path | None,
    frames: Sequence[ImageU8],
    artifact: Artifact,
    on_gpu: bool,
    threads: int | None,
) -> dict[str, Callable[[], Stages]]:
    if ckpt is None:
        return {}
    from eager import eager_contenders  # torch

    spec = artifact.manifest.preprocess
    return eager_contenders(ckpt, frames, spec, on_gpu=on_gpu, threads=threads)


def _subject(artifact: Artifact) -> dict[str, str]:
    manifest = artifact.manifest
    return {
        "artifact": artifact.path.resolve().name,
        "artifact_sha256": artifact.sha256,
        "method": manifest.method.name,
        "backbone": manifest.backbone.name,
        "input": f"{manifest.preprocess.width}x{manifest.preprocess.height}",
    }


def _ratio(slow: Latency, fast: Latency) -> dict[str, float]:
    return {stage: slow.stages_ms[stage] / fast.stages_ms[stage] for stage in ("total", "infer")}


def _roofs(graphs: Mapping[str, Graph], threads: int | None) -> dict[str, Roof | None]:
    # Graphs of one type share shapes, whatever runs them: one measurement serves them all.
    wanted = {name: (g.number, main_shapes(g.products), g.on_gpu) for name, g in graphs.items()}
    roofs = {
        key: measure_roof(key[0], key[1], on_gpu=key[2], threads=threads)
        for key in dict.fromkeys(wanted.values())
    }
    return {name: roofs[key] for name, key in wanted.items()}


def _speed(products: Sequence[Product], latency: Latency, roofs: Sequence[Roof | None]) -> Speed:
    gflop = sum(product.flop for product in products) / 1e9
    reached = gflop / latency.stages_ms["infer"] * 1e3
    roof = max((r for r in roofs if r), key=lambda r: r.gflop_per_s, default=None)
    return Speed(gflop, reached, roof, None if roof is None else reached / roof.gflop_per_s)


def _throughput(
    artifact: Artifact, graphs: Mapping[str, Graph], frames: Sequence[ImageU8], protocol: Protocol
) -> tuple[Throughput, ...]:
    if protocol.batches == (protocol.batch,) and protocol.streams == (1,):
        return ()  # the latencies say it
    openers = {
        name: partial(_open, artifact, g.detector.backend.precision, g.backend, protocol)
        for name, g in graphs.items()
    }
    return measure_throughput(openers, frames, protocol.batches, protocol.streams, protocol.runs)


def _cold_starts(
    path: Path, graphs: Mapping[str, Graph], protocol: Protocol
) -> dict[str, ColdStart]:
    if not protocol.cold:
        return {}
    starts = {
        name: Start(
            str(path.resolve()),
            graph.detector.backend.precision,
            graph.backend,
            protocol.threads,
            protocol.frame_hw,
        )
        for name, graph in graphs.items()
    }
    return measure_cold_starts(starts, protocol.cold)


def _size_mb(detector: Detector) -> float:
    graph, folder = detector.graph, detector.artifact.path
    files = [graph.file, *([graph.data] if graph.data else [])]
    return sum((folder / name).stat().st_size for name in files) / 1e6
