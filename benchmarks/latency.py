"""Latency and throughput of an artifact, from camera frame to verdict.

    python benchmarks/latency.py dive/ --ckpt dive.pt
    python benchmarks/latency.py dive/ --batch 1,2,4,8 --streams 1,2 --cold 5
    python benchmarks/latency.py --compare old.json new.json

Contenders take turns in one process, so their ratios hold although the machine drifts; seconds from
another machine or another day do not compare. The arithmetic is counted from the graph and set
against the fastest matrix product of the model's own shapes that this machine managed in the same
run.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from options import backends_option, check_folder, precisions_option
from zsad.command import Command
from zsad.errors import InputError

_BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def parse_counts(
    ctx: click.Context | None, param: click.Parameter | None, value: str
) -> tuple[int, ...]:
    """Turn `1,2,4` into its numbers, each once; anything else ends the command with exit code 2."""
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise click.BadParameter(f"'{value}' is not a list of numbers from 1 up: use 1,2,4")
    return tuple(dict.fromkeys(map(int, parts)))


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path), required=False)
@click.option("--ckpt", type=click.Path(path_type=Path), help="Compare with its PyTorch eager run.")
@precisions_option
@backends_option
@click.option(
    "--batch",
    "batches",
    callback=parse_counts,
    default="1",
    show_default=True,
    help="Frames a run; of several, latency is of the first and throughput of all.",
)
@click.option(
    "--streams",
    callback=parse_counts,
    default="1",
    show_default=True,
    help="Threads that judge at once, each with an engine of its own.",
)
@click.option("--runs", type=click.IntRange(2), default=50, show_default=True, help="Timed runs.")
@click.option(
    "--warm-up", type=click.IntRange(0), default=5, show_default=True, help="Uncounted runs."
)
@click.option(
    "--cold",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Processes started anew for each graph, for cold start and peak memory.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads of the CPU for all contenders. Default: OMP_NUM_THREADS, else as each likes.",
)
@click.option("--frame", default="1920x1080", show_default=True, help="Camera frame, WIDTHxHEIGHT.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    callback=check_folder,
    metavar="FILE.json",
    help="Write JSON.",
)
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="OLD.json NEW.json",
    help="Compare two such files instead of timing.",
)
@click.option("--anyway", is_flag=True, help="With --compare: also across machines or flags.")
def main(
    artifact: Path | None,
    ckpt: Path | None,
    precisions: tuple[str, ...],
    backends: tuple[str, ...],
    batches: tuple[int, ...],
    streams: tuple[int, ...],
    runs: int,
    warm_up: int,
    cold: int,
    threads: int | None,
    frame: str,
    out: Path | None,
    compare: tuple[Path, Path] | None,
    anyway: bool,
) -> None:
    """Time ARTIFACT from camera frame to verdict, or compare two timings."""
    if (artifact is None) == (compare is None):
        raise InputError("give either ARTIFACT, to time it, or --compare OLD.json NEW.json")
    if compare is not None:
        from latency_compare import compare_files

        click.echo(compare_files(*compare, anyway=anyway))
        return
    if anyway:
        raise InputError("--anyway goes with --compare: leave it out")
    assert artifact is not None
    threads = threads or _threads_from_environment()
    if threads is not None:
        # Read once, when numpy loads its BLAS, which the lines below cause.
        os.environ.update(dict.fromkeys(_BLAS_THREADS, str(threads)))
    frame_hw = parse_size(frame)
    from latency_measure import measure
    from latency_report import Protocol
    from latency_text import text

    protocol = Protocol(
        batch=batches[0],
        runs=runs,
        warm_up=warm_up,
        threads=threads,
        frame_hw=frame_hw,
        batches=batches,
        streams=streams,
        backends=backends,
        precisions=precisions,
        cold=cold,
        eager=ckpt is not None,
    )
    report = measure(artifact, protocol, ckpt)
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
    from zsad.preprocess import MAX_PIXELS  # numpy, which must not load before main sets threads

    if int(height) * int(width) > MAX_PIXELS:
        raise InputError(f"--frame {text} is above the limit of {MAX_PIXELS // 10**6} megapixels")
    return int(height), int(width)


def _threads_from_environment() -> int | None:
    # PyTorch and numpy would obey it and ONNX Runtime would not: no fair comparison.
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdecimal() and int(value) else None


if __name__ == "__main__":
    main()
