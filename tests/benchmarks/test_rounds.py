"""Rounds of contenders that take a known time on a machine that is known to change."""

import weakref

import pytest

from rounds import drift, median_ms, notes, orders, ratios, take_rounds

NAMES = ("a", "b", "c", "d")


def test_every_round_has_everybody_in_another_order_and_the_seed_fixes_it():
    found = list(orders(NAMES, 6))
    assert all(sorted(order) == list(NAMES) for order in found)
    assert found[1] == found[0][::-1] and found[3] == found[2][::-1]
    assert len(set(found)) > 2
    assert found == list(orders(NAMES, 6))


class Machine:
    """Contenders that take 10 ms times what `slowness(turn)` gives; b takes half as long."""

    def __init__(self, slowness):
        self.slowness = slowness
        self.turn = 0
        self.open = weakref.WeakSet()

    def rounds(self, rounds, runs=1, warm_up=0):
        contenders = {name: lambda name=name: self.opened(name) for name in NAMES}
        return take_rounds(contenders, rounds, runs, warm_up, pause_s=0)

    def opened(self, name):
        def run():
            ms = (5.0 if name == "b" else 10.0) * self.slowness(self.turn)
            self.turn += 1
            return {"total": ms}

        assert not self.open  # one in memory at a time
        self.open.add(run)
        return run


def test_a_quiet_machine_gives_the_contenders_themselves():
    found = Machine(lambda turn: 1.0).rounds(3, runs=2, warm_up=1)
    assert ratios(found, "a", "b") == [2.0, 2.0, 2.0]
    assert (median_ms(found, "a"), median_ms(found, "b")) == (10.0, 5.0)
    drifted = drift(found)
    assert drifted.by_place == (1.0,) * 4 and drifted.last_over_first == 1.0
    assert not drifted.disagrees and not drifted.place_matters and notes(drifted) == []


def test_a_machine_that_gets_steadily_slower_favours_nobody_and_says_so():
    rounds = Machine(lambda turn: 1.0 + 0.05 * turn).rounds(4)
    faster = sorted(ratios(rounds, "a", "c"))
    assert sum(faster) / 4 == pytest.approx(1.0, abs=0.02) and faster[0] < 1 < faster[-1]
    drifted = drift(rounds)
    assert drifted.last_over_first > 1.3 and drifted.disagrees
    (note,) = (line for line in notes(drifted) if "last round" in line)
    assert f"took {drifted.last_over_first:.2f} times as long as the first" in note


def test_a_place_that_costs_time_is_told_from_the_contenders():
    # What is timed first in its round takes twice as long, whoever it is.
    found = drift(Machine(lambda turn: 2.0 if turn % 4 == 0 else 1.0).rounds(6))
    assert found.by_place[0] > 1.3 and found.by_place[1:] == pytest.approx((1, 1, 1), abs=0.05)
    assert found.place_matters
    assert any("the place in a round alone made" in line for line in notes(found))
