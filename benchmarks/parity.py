"""Does every graph of an artifact say what its reference says, on this machine's engines?

    python benchmarks/parity.py dive/ --data elpv --json parity.json

Golden frames are held against what PyTorch said at export, so this needs no torch; labelled images
against the FP32 graph on the CPU or, with --ckpt, against PyTorch. The exit code is 3 where a graph
is over its limits or its AUROC budget.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from graph_options import backends_option, precisions_option
from zsad.command import Command
from zsad.errors import InputError, ParityError
from zsad.manifest import PRECISIONS

if TYPE_CHECKING:
    from zsad.manifest import Precision


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--ckpt", type=click.Path(path_type=Path), help="Its PyTorch is the reference.")
@click.option("--data", metavar="SPEC", help="Labelled images: elpv, synthetic, folder:PATH, ...")
@click.option("--limit", type=click.IntRange(1), help="At most so many of them.")
@click.option("--recipe", type=click.Path(path_type=Path), help="Also compare its verdicts.")
@precisions_option
@backends_option
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write a JSON.")
def main(
    artifact: Path,
    ckpt: Path | None,
    data: str | None,
    limit: int | None,
    recipe: Path | None,
    precisions: tuple[Precision, ...],
    backends: tuple[str, ...],
    json_path: Path | None,
) -> None:
    """Hold the graphs of ARTIFACT against their reference, from camera frame to map."""
    if json_path is not None and not json_path.parent.is_dir():
        raise InputError(f"folder {json_path.parent} does not exist: make it first")
    if data is None and (ckpt is not None or limit is not None):
        raise InputError("--ckpt and --limit go with --data: name labelled images too")
    from parity_report import Subjects, measure
    from parity_text import text
    from zsad.artifact import Artifact
    from zsad.data import open_dataset
    from zsad.recipe import read_recipe
    from zsad.schema import write_json

    opened = Artifact.open(artifact)
    subjects = Subjects(
        opened,
        tuple(dict.fromkeys(precisions))
        or tuple(p for p in PRECISIONS if p in opened.manifest.graphs),
        tuple(dict.fromkeys(backends)),
        None if recipe is None else read_recipe(recipe),
    )
    dataset = None if data is None else open_dataset(data, limit=limit)
    report = measure(subjects, dataset, ckpt, lambda step: click.echo(f"{step} ...", err=True))
    click.echo(text(report))
    if json_path is not None:
        write_json(json_path, report)
        click.echo(f"wrote {json_path}")
    if over := [row.name for row in report.rows if row.is_over]:
        raise ParityError(f"over the limits: {', '.join(over)}")


if __name__ == "__main__":
    main()
