"""What each option of ONNX Runtime's CPU sessions gives: wall clock and processor time per frame.

    python benchmarks/session_options.py dive/ --json benchmarks/results/session-options.json
    python benchmarks/session_options.py dive/ --busy 1

Sessions that differ in one option from the library's defaults are opened and timed one after
another in rounds, each round in another order; they are compared within a round. The defaults run
twice: what these two differ by is what the measurement cannot tell. `--busy` keeps so many other
processes running beside them, as cameras, decoders and a second line do. Processor time is that of
all threads: those that spin while they wait cost it, even where no clock shows it.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from accuracy_table import markdown
from options import json_option
from zsad.command import Command

if TYPE_CHECKING:
    from rounds import Round
    from timing import Stages
    from zsad.manifest import Precision

DEFAULT = "the library's defaults"
CONTROL = "the same once more"
PAUSE_S = 0.05
"""Between two runs: longer than threads spin, so that one contender does not slow the next."""


def _level(name: str) -> Callable[[Any], None]:
    def change(options: Any) -> None:
        import onnxruntime as ort

        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, name)

    return change


def _entry(key: str, value: str) -> Callable[[Any], None]:
    return lambda options: options.add_session_config_entry(key, value)


def _attribute(name: str, value: object) -> Callable[[Any], None]:
    return lambda options: setattr(options, name, value)


def _parallel(options: Any) -> None:
    import onnxruntime as ort

    options.execution_mode = ort.ExecutionMode.ORT_PARALLEL


VARIANTS: Mapping[str, Callable[[Any], None]] = {
    DEFAULT: lambda options: None,
    CONTROL: lambda options: None,
    "no spinning": _entry("session.intra_op.allow_spinning", "0"),
    "spinning ends with the run": _entry("session.force_spinning_stop", "1"),
    "graph: extended, no layout": _level("ORT_ENABLE_EXTENDED"),
    "graph: basic": _level("ORT_ENABLE_BASIC"),
    "graph: none": _level("ORT_DISABLE_ALL"),
    "operators in parallel": _parallel,
    "no arena": _attribute("enable_cpu_mem_arena", False),
    "no memory pattern": _attribute("enable_mem_pattern", False),
    "denormals are zero": _entry("session.set_denormal_as_zero", "1"),
    "blocks of tasks sized by what is left": _entry("session.dynamic_block_base", "4"),
}
"""What is changed of the options of a session."""


@dataclass(frozen=True)
class Found:
    """One variant.

    Attributes:
        variant: A key of `VARIANTS`.
        ms: Median over rounds of the wall clock per frame.
        cpu_ms: That of the processor time per frame, over all threads and the pause after.
        times_faster: The default's wall clock over this one's in the same round, the median of
            all rounds.
        lowest, highest: The smallest and the largest of these ratios.
    """

    variant: str
    ms: float
    cpu_ms: float
    times_faster: float
    lowest: float
    highest: float


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--precision", help="Graph to run. Default: the artifact's own.")
@click.option("--only", multiple=True, help="A variant by name; all if not given.")
@click.option("--rounds", type=click.IntRange(2), default=6, show_default=True, help="All of them.")
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="In a round.")
@click.option("--warm-up", type=click.IntRange(0), default=2, show_default=True, help="Likewise.")
@click.option("--threads", type=click.IntRange(1), help="Threads. Default: the library's choice.")
@click.option("--busy", type=click.IntRange(0), default=0, show_default=True, help="Neighbours.")
@json_option
def main(
    artifact: Path,
    precision: Precision | None,
    only: tuple[str, ...],
    rounds: int,
    runs: int,
    warm_up: int,
    threads: int | None,
    busy: int,
    json_path: Path | None,
) -> None:
    """Time ARTIFACT in sessions of every variant and print the table."""
    from machine import describe
    from rounds import drift, notes, take_rounds
    from zsad.artifact import Artifact
    from zsad.errors import InputError
    from zsad.schema import write_json

    if unknown := set(only) - set(VARIANTS):
        raise InputError(f"unknown variant '{min(unknown)}': use one of {', '.join(VARIANTS)}")
    opened = Artifact.open(artifact)
    graph = opened.file(opened.graph(precision).file)
    names = dict.fromkeys((DEFAULT, CONTROL, *only)) if only else VARIANTS
    contenders = {name: partial(runner, graph, opened, name, threads) for name in names}
    with neighbours(busy):
        found = take_rounds(contenders, rounds, runs, warm_up, pause_s=PAUSE_S)
    rows, drifted = findings(found), drift(found)
    click.echo("\n".join([table(rows), *notes(drifted)]))
    if json_path is not None:
        method, backbone = opened.manifest.method.name, opened.manifest.backbone.name
        record = {"method": method, "backbone": backbone, "graph": graph.name, "runs": runs}
        asked = {"warm_up": warm_up, "threads": threads, "busy": busy}
        result = {"variants": rows, "drift": drifted, "rounds": found}
        write_json(json_path, {"machine": describe(), **record, **asked, **result})
        click.echo(str(json_path))


def runner(graph: Path, artifact: Any, variant: str, threads: int | None) -> Callable[[], Stages]:
    """Return what runs one frame in a session of a variant."""
    import numpy as np
    import onnxruntime as ort

    from zsad.text_table import constant_inputs

    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    VARIANTS[variant](options)
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    spec = artifact.manifest.preprocess
    shape = (1, spec.height, spec.width, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    feeds = {"image": image, **constant_inputs(artifact)}

    def run() -> Stages:
        start, begun = time.perf_counter(), time.process_time()
        session.run(None, feeds)
        wall = time.perf_counter() - start
        time.sleep(PAUSE_S)  # threads that still spin are this run's
        return {"total": wall * 1e3, "cpu": (time.process_time() - begun) * 1e3}

    return run


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep so many processes busy while the block runs."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=spin, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def spin() -> None:
    """Keep a core busy without end."""
    while True:
        pass


def findings(rounds: Sequence[Round]) -> list[Found]:
    """Return the variants against the defaults, in the order of `VARIANTS`."""
    return [_found(rounds, name) for name in VARIANTS if name in rounds[0].medians]


def _found(rounds: Sequence[Round], name: str) -> Found:
    from rounds import median_ms, ratios

    faster = sorted(ratios(rounds, DEFAULT, name))
    ms, cpu_ms = (median_ms(rounds, name, stage) for stage in ("total", "cpu"))
    return Found(name, ms, cpu_ms, median(faster), faster[0], faster[-1])


def table(rows: Sequence[Found]) -> str:
    """Return the variants as a Markdown table."""
    head = ["session options", "ms a frame", "processor ms", "times as fast", "over the rounds"]
    return markdown(head, [_cells(row) for row in rows])


def _cells(row: Found) -> list[str]:
    figures = [f"{row.ms:.1f}", f"{row.cpu_ms:.1f}", f"{row.times_faster:.2f}"]
    return [row.variant, *figures, f"{row.lowest:.2f} to {row.highest:.2f}"]


if __name__ == "__main__":
    main()
