"""`zsad-words`: other defect types for an artifact whose text is an input."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from zsad.command import Command


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--defects",
    required=True,
    metavar="LIST",
    help="Defect types in English, comma-separated: 'scratch,missing screw'.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Artifact to write. [default: ARTIFACT itself is replaced]",
)
def main(artifact: Path, defects: str, out: Path | None) -> None:
    """Give ARTIFACT, of a method that names types (dapo), other defect types to look for.

    Only the text is encoded again, on the CPU; graphs and engines stay. It is another artifact
    then: thresholds were calibrated for the old words, and a recipe with them gives NO_RESULT.
    """
    from zsad.words import parse_words

    words = parse_words(defects)
    from zsad.artifact import Artifact
    from zsad.text_table import change_words

    opened = Artifact.open(artifact)
    with click.progressbar(length=len(words), label="encoding", file=sys.stderr) as bar:
        written = change_words(opened, words, out or artifact, lambda word: bar.update(1))
    click.echo(f"{written.path}: {', '.join(words)}; {written.sha256[:12]}")
    click.echo(
        "recipes made before are for other words: run "
        f"zsad-calibrate {written.path} --good DIR --recipe FILE"
    )
