r"""One table of what every method reached on the sets at hand, from the JSON of `accuracy.py`.

    for M in dive anomalyclip faprompt cops dapo mrad entroad; do
        python benchmarks/accuracy.py --method $M --train-on synthetic --test-on synthetic \
            --test-on elpv --test-on textile-local --test-on textile-global --limit 1024 \
            --epochs 3 --seeds 3 --json benchmarks/results/accuracy-$M-tiny.json
    done
    python benchmarks/accuracy_methods.py benchmarks/results/accuracy-*-tiny.json

Those that learn nothing (clip, winclip) take neither --train-on, --limit, --epochs nor --seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import click

from accuracy_runs import Outcome
from accuracy_table import NOT_RUN, by_set, markdown, per_seed, percent
from zsad.command import Command
from zsad.errors import InputError
from zsad.schema import from_json, read_json
from zsad_train.methods import METHODS, UNTRAINED, reading_mark

COLUMNS = (
    ("synthetic", "image_auroc", "unseen synthetic classes, image"),
    ("synthetic", "pixel_auroc", "the same, pixel"),
    ("elpv", "image_auroc", "ELPV, image"),
    ("textile-local", "image_auroc", "textile local, image"),
    ("textile-global", "image_auroc", "textile global, image"),
)
"""Data set, metric, and what heads its column."""


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def main(files: tuple[Path, ...]) -> None:
    """Print the table of FILES, the JSON of one run of accuracy.py per method."""
    click.echo(table([read(file) for file in files]))


def read(file: Path) -> tuple[str, list[Outcome]]:
    """Return the method and the outcomes of a run.

    Raises:
        InputError: The file is not the JSON of a run of accuracy.py.
    """
    record: Any = read_json(file, "run of accuracy.py")
    if not isinstance(record, dict) or not {"job", "outcomes"} <= record.keys():
        raise InputError(f"{file} is no run of accuracy.py: it has no job and no outcomes")
    found = [from_json(Outcome, each, str(file)) for each in record["outcomes"]]
    return record["job"]["method"], found


def table(runs: Sequence[tuple[str, list[Outcome]]]) -> str:
    """Return a row for every method, in the order of the method table, and one for the floor."""
    found = dict(runs)
    if unknown := sorted(found.keys() - (METHODS | UNTRAINED)):
        raise InputError(f"zsad has no method '{unknown[0]}'")
    ordered = [name for name in METHODS | UNTRAINED if name in found]
    sets = {name: by_set(found[name]) for name in ordered}
    rows = [[f"`{name}`{reading_mark(name)}", *_cells(sets[name])] for name in ordered]
    floors = [_floor(list(sets.values()), *column[:2]) for column in COLUMNS]
    return markdown(["method", *(title for *_, title in COLUMNS)], [*rows, ["floor", *floors]])


def _cells(sets: Mapping[str, Sequence[Outcome]]) -> list[str]:
    values = [per_seed(sets.get(name, ()), metric) for name, metric, _ in COLUMNS]
    return [percent(each) if each else NOT_RUN for each in values]


def _floor(sets: Sequence[Mapping[str, Sequence[Outcome]]], name: str, metric: str) -> str:
    # A plain statistic of the images: the same whoever was tested on them.
    values = {run.floor[metric] for each in sets for run in each.get(name, ())}
    return f"{100 * mean(values):.1f}" if values else "-"


if __name__ == "__main__":
    main()
