"""Latency and throughput of an artifact, from camera frame to verdict.

    python benchmarks/latency.py dive/ --ckpt dive.pt

Contenders take turns in one process, so their ratios hold although the machine drifts; seconds from
another machine or another day do not compare. The arithmetic is counted from the graph and set
against the fastest matrix product that this machine managed in the same run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zsad.backends import BACKENDS
from zsad.command import Command
from zsad.errors import InputError

if TYPE_CHECKING:
    from zsad.detector import Detector
    from zsad.manifest import Precision

_BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--ckpt", type=click.Path(path_type=Path), help="Compare with its PyTorch eager run.")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["fp32", "fp16", "int8"]),
    multiple=True,
    help="Graph to time, repeatable. Default: every graph of the artifact.",
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Frames a run.")
@click.option("--runs", type=click.IntRange(2), default=50, show_default=True, help="Timed runs.")
@click.option(
    "--warm-up", type=click.IntRange(0), default=5, show_default=True, help="Uncounted runs."
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads of the CPU for all contenders. Default: OMP_NUM_THREADS, else as each likes.",
)
@click.option("--frame", default="1920x1080", show_default=True, help="Camera frame, WIDTHxHEIGHT.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.json", help="Write JSON.")
def main(
    artifact: Path,
    ckpt: Path | None,
    precisions: tuple[Precision, ...],
    backend: str,
    batch: int,
    runs: int,
    warm_up: int,
    threads: int | None,
    frame: str,
    out: Path | None,
) -> None:
    """Time ARTIFACT from camera frame to verdict."""
    frame_hw = parse_size(frame)
    threads = threads or _threads_from_environment()
    if threads is not None:
        # Read once, when numpy loads its BLAS, which the lines below cause.
        os.environ.update(dict.fromkeys(_BLAS_THREADS, str(threads)))
    from latency_report import Protocol, measure, text

    protocol = Protocol(batch, runs, warm_up, threads, frame_hw)
    with ExitStack() as stack:
        opened = _detectors(artifact, precisions, backend, threads)
        detectors = [stack.enter_context(detector) for detector in opened]
        report = measure(detectors, protocol, ckpt)
    click.echo(text(report))
    if out is not None:
        from zsad.schema import write_json

        write_json(out, report)
        click.echo(f"wrote {out}")


def parse_size(text: str) -> tuple[int, int]:
    """Return `WIDTHxHEIGHT` as (rows, columns).

    Raises:
        InputError: The text is no such size.
    """
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise InputError(f"--frame {text} is not WIDTHxHEIGHT, such as 1920x1080")
    return int(height), int(width)


def _threads_from_environment() -> int | None:
    # PyTorch and numpy would obey it and ONNX Runtime would not: no fair comparison.
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdecimal() and int(value) else None


def _detectors(
    path: Path, precisions: tuple[Precision, ...], backend: str, threads: int | None
) -> Iterator[Detector]:
    from zsad.artifact import Artifact
    from zsad.backends import open_backend
    from zsad.detector import Detector
    from zsad.manifest import PRECISIONS

    artifact = Artifact.open(path)
    present = tuple(p for p in PRECISIONS if p in artifact.manifest.graphs)
    for precision in dict.fromkeys(precisions) or present:
        yield Detector(artifact, open_backend(artifact, precision, backend, threads))


if __name__ == "__main__":
    main()
