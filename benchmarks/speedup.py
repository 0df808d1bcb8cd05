"""How much faster an artifact is on a CPU than PyTorch eager, by backend and precision.

    python benchmarks/speedup.py --work runs/speedup --backbone ViT-B-16 --json runs/speedup.json

From a uint8 frame of the model's size to score and map. Eager is the method as its authors run it:
all text encoded with every image, FAPrompt's in the whole context of 77 tokens. Random weights: the
arithmetic is the same. Contenders take turns in one process, so the ratios hold although the
machine drifts. The work folder keeps checkpoints and artifacts; one that is there is used as it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from method_costs import write_untrained
from options import json_option
from speedup_table import Subject, table
from zsad.command import Command
from zsad.errors import ZsadError

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ExportFailedError(ZsadError):
    """`zsad-export` ended with an error, which it has printed itself."""

    def __init__(self, subject: Subject, code: int) -> None:
        """Take over the exit code of the command."""
        super().__init__(f"the export of {subject.artifact.name} ended with exit code {code}")
        self.exit_code = code


@click.command(cls=Command)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder to keep.",
)
@click.option("--method", "methods", multiple=True, default=("dive", "faprompt"), show_default=True)
@click.option("--backbone", "backbones", multiple=True, default=("ViT-B-16",), show_default=True)
@click.option(
    "--export", "words", default="", metavar="WORDS", help="More words for zsad-export: --int8."
)
@click.option("--runs", type=click.IntRange(2), default=15, show_default=True, help="Timed runs.")
@click.option("--warm-up", type=click.IntRange(0), default=2, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Threads of all. Default: every core.")
@json_option
def main(
    work: Path,
    methods: tuple[str, ...],
    backbones: tuple[str, ...],
    words: str,
    runs: int,
    warm_up: int,
    threads: int | None,
    json_path: Path | None,
) -> None:
    """Time every graph on every backend of this CPU against eager, and print the table."""
    from machine import describe
    from zsad.host import usable_cores

    threads = threads or usable_cores()
    # Read once, when numpy loads its BLAS, which the lines below cause.
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    from speedup_measure import Timing, measure
    from zsad.schema import write_json

    work.mkdir(parents=True, exist_ok=True)
    subjects = [make_subject(m, b, work, words.split()) for b in backbones for m in methods]
    timing = Timing(runs, warm_up, threads)
    rows = [row for subject in subjects for row in measure(subject, timing)]
    click.echo(table(rows))
    if json_path is not None:
        write_json(json_path, {"machine": describe(), "timing": timing, "rows": rows})
        click.echo(str(json_path))


def make_subject(method: str, backbone: str, work: Path, words: Sequence[str]) -> Subject:
    """Return checkpoint and artifact, made in `work` where they are not there yet.

    Raises:
        ExportFailedError: The export failed.
    """
    name = f"{method}-{backbone}"
    subject = Subject(method, backbone, work / f"{name}.pt", work / name)
    if not subject.ckpt.exists():
        write_untrained(subject.method, subject.backbone, subject.ckpt)
    if not subject.artifact.exists():
        _export(subject, words)
    return subject


def _export(subject: Subject, words: Sequence[str]) -> None:
    # In a process of its own, whose memory is free again when the timing begins.
    code = "from zsad_export.cli.export import main; main()"
    files = ["--ckpt", str(subject.ckpt), "--out", str(subject.artifact)]
    done = subprocess.run([sys.executable, "-c", code, *files, "--no-engine", *words])
    if done.returncode:
        raise ExportFailedError(subject, done.returncode)


if __name__ == "__main__":
    main()
