"""Rounds: every contender is opened, timed and closed once in each, every time in another order.

`timing.take_turns` cancels what changes from one turn to the next. It does not cancel what hangs on
a contender's place: who was loaded first, who comes after whom. Here the places change, and what
they did is part of the result.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from timing import PAUSE_S, Stages, take_turns

SEED = 0
APART = 1.1
"""Two ends of a measurement are called apart from this ratio of their times on."""

Open = Callable[[], Callable[[], Stages]]
"""Loads a contender and returns what runs it once; it is freed with what was returned."""


@dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
        order: The contenders as they were timed.
        medians: Of the stages of each one's runs.
    """

    order: tuple[str, ...]
    medians: Mapping[str, Stages]


@dataclass(frozen=True)
class Drift:
    """What changed although every contender stayed the same.

    Attributes:
        last_over_first: Times of the last round over those of the first, median over contenders.
        by_place: What was timed first, second and so on in a round, over the same contender's
            median; median over rounds. All 1 where the place does not matter.
        disagrees: Whether first and last round are apart, so that milliseconds mean little and
            only ratios within a round count.
        place_matters: Whether two places are apart.
    """

    last_over_first: float
    by_place: tuple[float, ...]
    disagrees: bool
    place_matters: bool


def orders(names: Sequence[str], rounds: int, seed: int = SEED) -> Iterator[tuple[str, ...]]:
    """Yield an order per round: a shuffled one, then the same from its end, and so on.

    So a machine that gets steadily slower treats everybody alike over two rounds.
    """
    rng = random.Random(seed)
    order: tuple[str, ...] = ()
    for index in range(rounds):
        order = order[::-1] if index % 2 else tuple(rng.sample(list(names), len(names)))
        yield order


def take_rounds(
    contenders: Mapping[str, Open],
    rounds: int,
    runs: int,
    warm_up: int,
    pause_s: float = PAUSE_S,
) -> list[Round]:
    """Time contenders in rounds, one in memory at a time.

    Args:
        contenders: What opens each.
        rounds: How often each is opened.
        runs: Timed runs of each in a round.
        warm_up: Uncounted runs of each in a round.
        pause_s: Seconds of rest before each run.
    """

    def timed(name: str) -> Stages:
        turns = take_turns({name: contenders[name]()}, runs, warm_up, pause_s=pause_s)
        return turns[name].stages_ms

    return [Round(order, {n: timed(n) for n in order}) for order in orders([*contenders], rounds)]


def ratios(rounds: Sequence[Round], slow: str, fast: str) -> list[float]:
    """Return how many times as fast one contender was as another, per round."""
    return [each.medians[slow]["total"] / each.medians[fast]["total"] for each in rounds]


def median_ms(rounds: Sequence[Round], name: str, stage: str = "total") -> float:
    """Return the median over rounds of one contender's stage."""
    return float(np.median([each.medians[name][stage] for each in rounds]))


def drift(rounds: Sequence[Round]) -> Drift:
    """Return what changed over the rounds and within them."""
    first, last = rounds[0].medians, rounds[-1].medians
    over = float(np.median([last[name]["total"] / first[name]["total"] for name in first]))
    usual = {name: median_ms(rounds, name) for name in first}
    places = [[r.medians[n]["total"] / usual[n] for n in r.order] for r in rounds]
    by_place = tuple(float(each) for each in np.median(places, axis=0))
    return Drift(
        last_over_first=over,
        by_place=by_place,
        disagrees=max(over, 1 / over) >= APART,
        place_matters=max(by_place) / min(by_place) >= APART,
    )


def notes(found: Drift) -> list[str]:
    """Return what a reader of the table must know, a line each."""
    lines = []
    if found.disagrees:
        lines.append(
            f"NOTE: the last round took {found.last_over_first:.2f} times as long as the first: "
            "the machine changed meanwhile, only ratios within a round count"
        )
    if found.place_matters:
        lines.append(
            f"NOTE: the place in a round alone made {max(found.by_place) / min(found.by_place):.2f}"
            " times: differences below that are none"
        )
    return lines
