"""DIVE's class imbalance: keep as many normal and anomalous samples as its Table 4 counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from zsad.data.choice import order_by_class
from zsad.data.subset import Subset, entries_of, subset
from zsad.data.types import Dataset
from zsad.errors import InputError


@dataclass(frozen=True)
class Counts:
    """How many samples of each label to keep."""

    normal: int
    anomalous: int

    def __str__(self) -> str:
        return f"{self.normal} normal and {self.anomalous} anomalous"


@dataclass(frozen=True)
class DiveRow:
    """What DIVE's Table 4 counts of one data set.

    Attributes:
        test: Its test samples.
        train: Its training samples, for the two sets that DIVE trains on.
        pooled: The published splits that together hold that many. The paper does not name them:
            for all but `dtd` they follow from the counts.
    """

    test: Counts
    train: Counts | None = None
    pooled: tuple[str, ...] = ("test",)


_BOTH = ("train", "test")

DIVE_TABLE_4 = {
    "mvtec": DiveRow(Counts(3269, 334), Counts(4096, 423), _BOTH),
    "dtd": DiveRow(Counts(847, 120), Counts(1007, 240), _BOTH),
    "visa": DiveRow(Counts(9621, 1200), pooled=_BOTH),
    "mpdd": DiveRow(Counts(1064, 107), pooled=_BOTH),
    "sdd": DiveRow(Counts(181, 40)),
    "btad": DiveRow(Counts(451, 90)),
    "headct": DiveRow(Counts(100, 10)),
    "br35h": DiveRow(Counts(1500, 150)),
    "brainmri": DiveRow(Counts(98, 10)),
    "isic": DiveRow(Counts(0, 379)),
    "colondb": DiveRow(Counts(0, 380)),
    "tn3k": DiveRow(Counts(0, 614)),
}
"""DIVE (Table 4) by the names of `zsad.data`; the last three are whole sets, not resampled."""


def dive_counts(name: str, split: str) -> tuple[Counts, tuple[str, ...]]:
    """Look up how many samples DIVE keeps of a set, and the splits to choose them from.

    Raises:
        InputError: The table has no such set, or DIVE does not train on it.
    """
    row = DIVE_TABLE_4.get(name)
    if row is None:
        raise InputError(f"DIVE's Table 4 has no '{name}': it has {', '.join(DIVE_TABLE_4)}")
    counts = {"test": row.test, "train": row.train}.get(split)
    if counts is None:
        trained = ", ".join(key for key, other in DIVE_TABLE_4.items() if other.train)
        raise InputError(
            f"DIVE's Table 4 has no split '{split}' of '{name}': use test, or train for {trained}"
        )
    return counts, row.pooled


def counts_by_ratio(dataset: Dataset, ratio: str) -> Counts:
    """Keep every normal sample and `ratio` times as many anomalous ones, rounded up.

    Args:
        dataset: The whole set.
        ratio: A decimal number above 0, as text so that 0.1 is a tenth; it fits DIVE's counts of
            HeadCT, Br35H, BrainMRI and MPDD.

    Raises:
        InputError: The ratio is no such number.
    """
    try:
        share = Fraction(ratio)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if share <= 0:
        raise InputError(f"the ratio '{ratio}' is not a number above 0: use 0.1, for example")
    normal = sum(not entry.label for entry in entries_of(dataset))
    return Counts(normal, math.ceil(share * normal))


def resample(dataset: Dataset, counts: Counts, seed: int) -> Subset:
    """Choose that many samples of each label; each class gives its share.

    Which samples DIVE took is not published. With one seed a smaller count of the same samples is
    always part of a larger one, so that a test list is part of the training list it came from.

    Args:
        dataset: The whole set.
        counts: How many to keep.
        seed: Seed of the choice, below 2^32.

    Raises:
        InputError: The set has fewer, nothing is to be kept, or the seed cannot be used.
    """
    entries = entries_of(dataset)
    labels = [entry.label for entry in entries]
    there = Counts(labels.count(0), labels.count(1))
    if min(counts.normal, counts.anomalous) < 0 or counts == Counts(0, 0):
        raise InputError(f"cannot keep {counts} samples: use 0 or more, not 0 of both")
    if counts.normal > there.normal or counts.anomalous > there.anomalous:
        raise InputError(f"'{dataset.name}' has {there} samples, {counts} are to be kept")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed {seed} cannot be used: use 0 to 2^32 - 1")
    # The legacy generator, on purpose: its stream is frozen for all versions of numpy.
    order = np.random.RandomState(seed).permutation(len(labels)).tolist()
    turns = order_by_class(order, labels, [entry.class_name for entry in entries])
    normal = [i for i in turns if not labels[i]][: counts.normal]
    anomalous = [i for i in turns if labels[i]][: counts.anomalous]
    return subset(dataset, normal + anomalous, seed)
