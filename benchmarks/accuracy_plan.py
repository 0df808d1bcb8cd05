"""What is trained on and what is tested on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import click

from zsad.errors import InputError
from zsad_train.methods import UNTRAINED


@dataclass(frozen=True)
class Plan:
    """What is trained on and what is tested on, and whose table that fills.

    Attributes:
        paper: Whose figures stand beside ours.
        train_on: Spec of the auxiliary data set; None where a method learns nothing and no table
            is filled that depends on it.
        split: Its split.
        test_on: Specs of the test sets.
    """

    paper: str
    train_on: str | None
    split: str
    test_on: tuple[str, ...]


def plan(
    paper: str,
    sets: tuple[str, ...],
    root: Path | None,
    train_on: str | None,
    test_on: tuple[str, ...],
    method: str,
) -> Plan:
    """Return what to train and test on.

    Raises:
        InputError: The options contradict each other, or the paper has no such set.
    """
    if bool(sets) == bool(test_on):
        raise InputError("name what to test on: --set NAME with --root, or --test-on SPEC")
    if sets and root is None:
        raise InputError("--set needs --root DIR, the folder that holds the data sets by name")
    if train_on is None and not sets and method not in UNTRAINED:
        raise InputError("--test-on needs --train-on SPEC, the auxiliary data set")
    auxiliary = train_on or (_spec(_auxiliary(paper, sets), root) if sets else None)
    # The train split of public sets has no defects; lists and generated data are cut for training.
    is_cut = auxiliary is not None and auxiliary.startswith(("synthetic", "list:"))
    tests = test_on or tuple(_spec(name, root) for name in sets)
    return Plan(paper, auxiliary, "train" if is_cut else "all", tests)


def _spec(name: str, root: Path | None) -> str:
    return name if name == "elpv-377" else f"{name}:{root}/{name}"  # that one is in a package


def _auxiliary(paper: str, sets: tuple[str, ...]) -> str:
    from published import published

    found = sorted({published().trained_for(paper, name) for name in sets})
    if len(found) > 1:
        raise InputError(f"{paper} trains on {' or '.join(found)} for these sets: run them apart")
    return found[0]


def as_dive_counts(chosen: Plan, work: Path) -> Plan:
    """Return the plan with lists of as many samples as DIVE's Table 4 counts, kept in `work`.

    A training set that the table does not count is left whole.
    """
    from resample import keep_dives_counts
    from zsad.data.resample import DIVE_TABLE_4

    def listed(spec: str, split: str) -> str:
        file = work / f"{spec.partition(':')[0]}-{split}.json"
        if not file.is_file():
            click.echo(keep_dives_counts(spec, split, 0, file))
        return f"list:{file}:{spec}"

    work.mkdir(parents=True, exist_ok=True)
    tests = tuple(listed(spec, "test") for spec in chosen.test_on)
    training = chosen.train_on or ""
    row = DIVE_TABLE_4.get(training.partition(":")[0])
    if row is None or row.train is None:
        return replace(chosen, test_on=tests)
    return replace(chosen, train_on=listed(training, "train"), split="train", test_on=tests)
