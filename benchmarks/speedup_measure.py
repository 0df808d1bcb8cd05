"""The measurement behind `speedup.py`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eager import eager_contenders
from roof_products import NumberType
from roofline import main_shapes, measure_roof
from speedup_table import Row, Subject, goal
from timing import Latency, Stages, take_turns
from zsad.arithmetic import ARITHMETIC
from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.backends.table import ON_CPU
from zsad.detector import Detector
from zsad.errors import InputError
from zsad.plan.products import Product, graph_products
from zsad.text_table import constant_inputs

EAGER = "PyTorch eager"
PRECISIONS = ("fp32", "int8")
"""Of the graphs that are timed: a CPU computes an FP16 graph in float32."""

NUMBERS: Mapping[str, NumberType] = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
"""What a kind of contender multiplies."""


@dataclass(frozen=True)
class Timing:
    """How it is timed."""

    runs: int
    warm_up: int
    threads: int


@dataclass(frozen=True)
class Contender:
    """What runs a frame, what it multiplies, and the memory that opening it took."""

    kind: str
    run: Callable[[], Stages]
    loaded_mb: float


def measure(subject: Subject, timing: Timing) -> list[Row]:
    """Time eager and every graph on every CPU backend that opens, in turns.

    Raises:
        InputError: The checkpoint or the artifact cannot be used.
    """
    artifact = Artifact.open(subject.artifact)
    with ExitStack() as stack:
        contenders = _contenders(subject, artifact, timing, stack)
        runs = {name: with_processor_time(each.run) for name, each in contenders.items()}
        kinds = {each.kind for each in contenders.values()}
        products = _products(artifact)
        before = _roofs(kinds, products, timing.threads)
        found = take_turns(runs, timing.runs, timing.warm_up)
        # Before and after, since the machine may be slower at either end.
        after = _roofs(kinds, products, timing.threads)
    gflop = sum(product.flop for product in products) / 1e9
    roofs = {kind: max(before[kind], after[kind]) for kind in kinds}
    return [_row(subject, name, contenders[name], found, roofs, gflop) for name in contenders]


def _contenders(
    subject: Subject, artifact: Artifact, timing: Timing, stack: ExitStack
) -> dict[str, Contender]:
    spec = artifact.manifest.preprocess
    shape = (spec.height, spec.width, 3)
    frames = [np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)]
    before = resident_mb()
    eager = eager_contenders(
        subject.ckpt, frames, spec, on_gpu=False, threads=timing.threads, whole_context=True
    )
    added = resident_mb() - before
    found = {name: Contender("fp32", run, added / len(eager)) for name, run in eager.items()}
    for detector, added in _detectors(artifact, timing.threads):
        stack.enter_context(detector)
        name = f"{detector.backend.precision} on {detector.backend.provider}"
        run = _run_of(detector, frames)
        found[name] = Contender(_kind(detector), run, added)
    return found


def _detectors(artifact: Artifact, threads: int) -> Iterator[tuple[Detector, float]]:
    for precision in PRECISIONS:
        if precision not in artifact.manifest.graphs:
            continue
        for name in sorted(ON_CPU):
            before = resident_mb()
            try:
                opened = open_backend(artifact, precision, name, threads)  # type: ignore[arg-type]
            except InputError as error:
                print(f"left out: {error}")
                continue
            detector = Detector(artifact, opened)
            detector.warm_up()
            yield detector, resident_mb() - before


def _run_of(detector: Detector, frames: list[np.ndarray]) -> Callable[[], Stages]:
    return lambda: detector.predict_batch(frames)[0].latency_ms


def _kind(detector: Detector) -> str:
    precision = detector.backend.precision
    return precision if precision != "fp32" else ARITHMETIC.get(detector.backend.name, "fp32")


def _products(artifact: Artifact) -> tuple[Product, ...]:
    spec = artifact.manifest.preprocess
    image = np.zeros((1, spec.height, spec.width, 3), np.uint8)
    graph = artifact.file(artifact.graph("fp32").file)
    return graph_products(graph, {"image": image, **constant_inputs(artifact)})


def _roofs(kinds: Iterable[str], products: Sequence[Product], threads: int) -> dict[str, float]:
    """Return the best rate per kind, in 1e9 operations a second; 0 where nothing has it."""
    shapes = main_shapes(products)
    found = {k: measure_roof(NUMBERS[k], shapes, on_gpu=False, threads=threads) for k in kinds}
    return {kind: 0.0 if roof is None else roof.gflop_per_s for kind, roof in found.items()}


def _row(
    subject: Subject,
    name: str,
    contender: Contender,
    found: dict[str, Latency],
    roofs: Mapping[str, float],
    gflop: float,
) -> Row:
    median, eager = (found[each].stages_ms["total"] for each in (name, EAGER))
    cpu, eager_cpu = (found[each].stages_ms["cpu"] for each in (name, EAGER))
    is_eager = name.startswith(EAGER)
    reached = gflop / found[name].stages_ms["infer"] * 1e3
    roof = 0.0 if is_eager else roofs[contender.kind]  # the graph's arithmetic is not eager's
    return Row(
        subject=f"{subject.method}, {subject.backbone}",
        contender=name,
        kind=contender.kind,
        ms=median,
        cpu_ms=cpu,
        times_faster=eager / median,
        cpu_times_less=eager_cpu / cpu,
        goal=None if is_eager else goal(subject.method, contender.kind),
        share_of_roof=reached / roof if roof else None,
        loaded_mb=contender.loaded_mb,
    )


def with_processor_time(run: Callable[[], Stages]) -> Callable[[], Stages]:
    """Return what does the same and tells the processor's milliseconds of all threads, too."""

    def timed() -> Stages:
        begun = time.process_time()
        stages = run()
        return {**stages, "cpu": (time.process_time() - begun) * 1e3}

    return timed


def resident_mb() -> float:
    """Return the memory of this process that is in use now, in 1e6 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6
