"""Which samples a smaller set keeps: each label, and each class within it, has its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np


def order_by_class(
    order: Iterable[int], labels: Sequence[int], classes: Sequence[str]
) -> list[int]:
    """Reorder samples so that those of one label take turns by class.

    Args:
        order: Every index once, shuffled by the caller.
        labels: Label of each sample.
        classes: Class of each sample.

    Returns:
        The indices; among the first k of one label every class has its share of k, within 1.
    """
    order = list(order)
    groups = list(zip(labels, classes, strict=True))
    places = {group: i for i, group in enumerate(dict.fromkeys(groups[i] for i in order))}
    # Phases apart, or the largest class would begin every time.
    ranks = _ranks(order, groups, lambda group: (places[group] + 0.5) / len(places))
    return sorted(order, key=ranks.__getitem__)


def fair_choice(
    labels: Sequence[int], classes: Sequence[str], count: int, seed: int
) -> tuple[int, ...]:
    """Choose `count` samples so that each label, and each class within it, has its share.

    Args:
        labels: Label of each sample.
        classes: Class of each sample.
        count: How many; all if there are no more.
        seed: Seed of the choice.

    Returns:
        Indices, ascending.
    """
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    ranks = _ranks(order_by_class(order, labels, classes), labels, lambda _: 0.5)
    return tuple(sorted(sorted(ranks, key=lambda index: (ranks[index], index))[:count]))


def _ranks(
    order: Iterable[int], groups: Sequence[Hashable], phase: Callable[..., float]
) -> dict[int, float]:
    """Place of each sample within its group, spread over 0..1."""
    sizes, seen, ranks = Counter(groups), Counter[Hashable](), {}
    for index in order:
        group = groups[index]
        ranks[index] = (seen[group] + phase(group)) / sizes[group]
        seen[group] += 1
    return ranks
