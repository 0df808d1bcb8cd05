"""`zsad-eval`: accuracy of an artifact or a checkpoint, with the floor beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zsad.command import Command
from zsad.errors import InputError

if TYPE_CHECKING:
    from zsad.manifest import Precision


@click.command(cls=Command)
@click.argument("path", metavar="ARTIFACT|CHECKPOINT", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="SPEC", help="synthetic, elpv, folder:PATH, ...")
@click.option("--split", default="test", show_default=True, help="Split of generated data.")
@click.option("--limit", type=click.IntRange(1), help="At most so many images.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Data seed.")
@click.option(
    "--exclude",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names to leave out of every figure, one a line: those of zsad-calibrate --names-out.",
)
@click.option(
    "--recipe", type=click.Path(path_type=Path), help="Also count wrong verdicts at its threshold."
)
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="Graph to run.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
    help="What runs the graph. Default: auto.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads of the CPU.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Write the figures as JSON, and the table as Markdown beside it.",
)
def main(
    path: Path,
    data: str,
    split: str,
    limit: int | None,
    seed: int,
    exclude: Path | None,
    recipe: Path | None,
    precision: Precision | None,
    backend: str | None,
    threads: int | None,
    out: Path | None,
) -> None:
    """Compare an artifact or a checkpoint with the labels and masks of a data set.

    Prints AUROC, AP and F1max of images and AUROC and AP of pixels, per class and their mean, with
    95 % bootstrap intervals. The floor below them is what plain image statistics reach when they
    are chosen with the test labels: only the margin over it speaks for the model.
    """
    _check_out(out)
    names = _read_names(exclude)
    from zsad.data import open_dataset
    from zsad.evaluate import evaluate, text_table, write_evaluation
    from zsad_export.subject import ArtifactOptions, open_subject

    dataset = open_dataset(data, split=split, limit=limit, seed=seed)
    options = ArtifactOptions(recipe, precision, backend, threads)
    bar = click.progressbar(length=len(dataset), label=dataset.name, file=sys.stderr)
    with open_subject(path, options) as subject, bar:
        found = evaluate(
            subject.predictor,
            dataset,
            subject=subject.record,
            exclude=names,
            progress=lambda: bar.update(1),
        )
    click.echo(f"{found.subject['name']}, data set {found.dataset}")
    click.echo(text_table(found))
    if out is not None:
        write_evaluation(out, found)
        click.echo(f"wrote {out} and {out.with_suffix('.md').name}")


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix != ".json":
        raise InputError(f"--out {out} must end in .json; the Markdown goes beside it")
    if not out.parent.is_dir():
        raise InputError(f"folder {out.parent} does not exist: make it first")


def _read_names(path: Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--exclude {path} cannot be read: {error}") from None
    names = frozenset(line.strip() for line in lines if line.strip())
    if not names:
        raise InputError(f"--exclude {path} holds no name: leave the option out")
    return names
