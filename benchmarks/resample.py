"""Choose part of a data set by DIVE's counts or others, and keep the list for every later run.

python benchmarks/resample.py mvtec:PATH --out mvtec-dive.json
zsad-eval dive/ --data list:mvtec-dive.json:mvtec:PATH
"""

from __future__ import annotations

from pathlib import Path

import click

from zsad.command import Command


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
    from zsad.data.resample import Counts, counts_by_ratio, dive_counts, resample
    from zsad.data.subset import NameList, pool

    if counts and ratio:
        raise click.UsageError("give --counts or --ratio, not both")
    pooled: tuple[str, ...] = (split,)
    wanted, rule = Counts(*counts or (0, 0)), "given counts"
    if not counts and not ratio:
        wanted, pooled = dive_counts(spec.partition(":")[0], split)
        rule = f"DIVE Table 4, {split}"
    dataset = pool([open_dataset(spec, split=part) for part in pooled])
    if ratio:
        wanted, rule = counts_by_ratio(dataset, ratio), f"{ratio} anomalous for each normal one"
    chosen = resample(dataset, wanted, seed)
    names = tuple(entry.name for entry in chosen.entries)
    NameList(dataset.name, split, pooled, seed, rule, names).write(out)
    click.echo(f"{wanted} samples of {dataset.name} ({rule}) in {out}")


if __name__ == "__main__":
    main()
