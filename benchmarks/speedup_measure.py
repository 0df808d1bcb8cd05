"""The measurement behind `speedup.py`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eager import eager_contenders
from roofline import Roof, graph_flop, measure_roof
from speedup_table import Row, Subject, goal
from timing import Latency, Stages, take_turns
from zsad.arithmetic import ARITHMETIC
from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.backends.table import ON_CPU
from zsad.detector import Detector
from zsad.errors import InputError
from zsad.text_table import constant_inputs

EAGER = "PyTorch eager"
PRECISIONS = ("fp32", "int8")
"""Of the graphs that are timed: a CPU computes an FP16 graph in float32."""


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
        roofs = [measure_roof(False, False, timing.threads)]
        found = take_turns(runs, timing.runs, timing.warm_up)
        # Before and after, since the machine may be slower at either end.
        roofs.append(measure_roof(False, False, timing.threads))
    roof = max((r for r in roofs if r), key=lambda r: r.gflop_per_s)
    gflop = _gflop(artifact)
    return [_row(subject, name, contenders[name], found, roof, gflop) for name in contenders]


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


def _gflop(artifact: Artifact) -> float:
    spec = artifact.manifest.preprocess
    image = np.zeros((1, spec.height, spec.width, 3), np.uint8)
    graph = artifact.file(artifact.graph("fp32").file)
    return graph_flop(graph, {"image": image, **constant_inputs(artifact)}) / 1e9


def _row(
    subject: Subject,
    name: str,
    contender: Contender,
    found: dict[str, Latency],
    roof: Roof,
    gflop: float,
) -> Row:
    median, eager = (found[each].stages_ms["total"] for each in (name, EAGER))
    cpu, eager_cpu = (found[each].stages_ms["cpu"] for each in (name, EAGER))
    is_eager = name.startswith(EAGER)
    reached = gflop / found[name].stages_ms["infer"] * 1e3
    # The graph's arithmetic is not eager's, and the roof here is that of float32.
    comparable = contender.kind == "fp32" and not is_eager
    return Row(
        subject=f"{subject.method}, {subject.backbone}",
        contender=name,
        kind=contender.kind,
        ms=median,
        cpu_ms=cpu,
        times_faster=eager / median,
        cpu_times_less=eager_cpu / cpu,
        goal=None if is_eager else goal(subject.method, contender.kind),
        share_of_roof=reached / roof.gflop_per_s if comparable else None,
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
