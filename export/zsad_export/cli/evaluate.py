"""`zsad-eval`: accuracy of an artifact or a checkpoint, with the floor beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zsad.backends import BACKENDS
from zsad.command import Command, check_writable
from zsad.errors import InputError
from zsad.precision import PRECISIONS

if TYPE_CHECKING:
    from zsad.manifest import Precision


@click.command(cls=Command)
@click.argument(
    "path", metavar="[ARTIFACT|CHECKPOINT]", required=False, type=click.Path(path_type=Path)
)
@click.option("--data", metavar="SPEC", help="synthetic, elpv, folder:PATH, ...")
@click.option(
    "--split", default="test", show_default=True, help="Split; `all` for all of a public set."
)
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
@click.option("--precision", type=click.Choice(PRECISIONS), help="Graph to run.")
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    help="What runs the graph. Default: auto.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads of the CPU.")
@click.option("--batch", type=click.IntRange(1), help="Images judged at once. Default: 1.")
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Threads that read images ahead; the figures do not depend on them.",
)
@click.option(
    "--compare",
    type=(click.Path(path_type=Path), click.Path(path_type=Path)),
    metavar="A.json B.json",
    help="Compare two evaluations of the same images instead.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Write the figures as JSON; table, report and scores per image go beside it.",
)
@click.pass_context
def main(
    ctx: click.Context,
    /,
    path: Path | None,
    data: str | None,
    split: str,
    limit: int | None,
    seed: int,
    exclude: Path | None,
    recipe: Path | None,
    precision: Precision | None,
    backend: str | None,
    threads: int | None,
    batch: int | None,
    workers: int,
    compare: tuple[Path, Path] | None,
    out: Path | None,
) -> None:
    """Compare an artifact or a checkpoint with the labels and masks of a data set.

    Prints AUROC, AP and F1max of images and of pixels, AUPRO and RCPRO, per class and their mean,
    with 95 % bootstrap intervals. The floor below them is what plain image statistics reach when
    they are chosen with the test labels: only the margin over it speaks for the model.

    With --compare A.json B.json it says instead how far two evaluations that --out wrote differ on
    the same images.
    """
    _check_out(out)
    if compare is not None:
        _check_alone(ctx)
        _compare(*compare, out)
        return
    if path is None or data is None:
        raise InputError("name an artifact or a checkpoint and its --data, or --compare two files")
    names = _read_names(exclude)
    from zsad.data import open_dataset
    from zsad.evaluate import examine, text_table, write_examination
    from zsad_export.subject import ArtifactOptions, open_subject

    dataset = open_dataset(data, split=split, limit=limit, seed=seed)
    options = ArtifactOptions(recipe, precision, backend, threads, batch)
    bar = click.progressbar(length=len(dataset), label=dataset.name, file=sys.stderr)

    def measuring(class_name: str) -> None:
        bar.label = f"{dataset.name}: measuring {class_name}"
        bar.render_progress()

    with open_subject(path, options) as subject, bar:
        found = examine(
            subject.predictor,
            dataset,
            subject=subject.record,
            exclude=names,
            progress=lambda: bar.update(1),
            measuring=measuring,
            workers=workers,
            batch=batch or 1,
        )
    if found.evaluation.n_excluded < len(names):
        met = f"{found.evaluation.n_excluded} of the {len(names)} names of --exclude"
        click.echo(f"note: only {met} are in {found.evaluation.dataset}", err=True)
    click.echo(f"{found.evaluation.subject['name']}, data set {found.evaluation.dataset}")
    click.echo(text_table(found.evaluation))
    if out is not None:
        written = write_examination(out, found)
        click.echo(f"wrote {out} and beside it {', '.join(p.name for p in written[1:])}")


def _check_alone(ctx: click.Context) -> None:
    typed = click.core.ParameterSource.COMMANDLINE
    given = [name for name in ctx.params if ctx.get_parameter_source(name) is typed]
    for name in sorted(set(given) - {"compare", "out"}):
        what = "the artifact" if name == "path" else f"--{name}"
        raise InputError(f"--compare reads two evaluations: leave out {what}")


def _compare(a: Path, b: Path, out: Path | None) -> None:
    if out is not None and out.resolve() in (a.resolve(), b.resolve()):
        raise InputError(f"--out {out} is one of the evaluations: name another file")
    from zsad.evaluate import compare_evaluations, versus_text, write_versus

    versus = compare_evaluations(a, b)
    click.echo(versus_text(versus))
    if out is not None:
        write_versus(out, versus)
        click.echo(f"wrote {out} and {out.with_suffix('.md').name}")


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix != ".json":
        raise InputError(f"--out {out} must end in .json; everything else goes beside it")
    check_writable(out)


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
