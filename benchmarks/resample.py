"""Choose part of a data set by DIVE's counts or others, and keep the list for every later run.

python benchmarks/resample.py mvtec:PATH --out mvtec-dive.json
zsad-eval dive/ --data list:mvtec-dive.json:mvtec:PATH
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from zsad.command import Command
from zsad.data import Dataset
from zsad.data.resample import Counts, resample
from zsad.data.subset import NameList, pool


@click.command(cls=Command)
@click.argument("spec")
@click.option("--split", default="test", show_default=True, help="What the list stands for.")
@click.option(
    "--counts", nargs=2, type=int, metavar="NORMAL ANOMALOUS", help="Instead of DIVE's Table 4."
)
@click.option("--ratio", help="Keep all normal samples and this many anomalous ones for each.")
@click.option("--seed", default=0, show_default=True, help="Seed of the choice.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The list, a JSON.")
def main(
    spec: str, split: str, counts: tuple[int, int] | None, ratio: str | None, seed: int, out: Path
) -> None:
    """Choose samples of SPEC: as many as DIVE's Table 4 counts, unless told otherwise."""
    from zsad.data import open_dataset
    from zsad.data.resample import counts_by_ratio

    if counts and ratio:
        raise click.UsageError("give --counts or --ratio, not both")
    if not counts and not ratio:
        click.echo(keep_dives_counts(spec, split, seed, out))
        return
    dataset = open_dataset(spec, split=split)
    if ratio:
        wanted, rule = counts_by_ratio(dataset, ratio), f"{ratio} anomalous for each normal one"
    else:
        wanted, rule = Counts(*counts or (0, 0)), "given counts"
    click.echo(_keep(dataset, wanted, NameList(dataset.name, split, (split,), seed, rule, ()), out))


def keep_dives_counts(spec: str, split: str, seed: int, out: Path) -> str:
    """Choose as many samples of a data set as DIVE's Table 4 counts; return a line that says so.

    Raises:
        InputError: The table has no such set, the set has fewer samples, or `out` cannot be
            written.
    """
    from zsad.data import open_dataset
    from zsad.data.resample import dive_counts

    wanted, pooled = dive_counts(spec.partition(":")[0], split)
    dataset = pool([open_dataset(spec, split=part) for part in pooled])
    listed = NameList(dataset.name, split, pooled, seed, f"DIVE Table 4, {split}", ())
    return _keep(dataset, wanted, listed, out)


def _keep(dataset: Dataset, wanted: Counts, listed: NameList, out: Path) -> str:
    chosen = resample(dataset, wanted, listed.seed)
    names = tuple(entry.name for entry in chosen.entries)
    replace(listed, samples=names).write(out)
    return f"{wanted} samples of {dataset.name} ({listed.rule}) in {out}"


if __name__ == "__main__":
    main()
