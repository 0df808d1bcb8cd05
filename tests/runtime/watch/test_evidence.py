import numpy as np
import pytest

from zsad.watch.evidence import Evidence, margin


def evidence(good, tolerance=0.0, miss=0.01, every=1000.0, clear_after=20):
    return Evidence(good, tolerance, miss, every, clear_after)


def alarms(watched, values):
    count, was_on = 0, False
    for value in values:
        watched.see(value)
        count += watched.is_on and not was_on
        was_on = watched.is_on
    return count


def test_the_margin_is_what_massart_proved():
    # P(sup > e) <= exp(-2 n e^2): 59 parts and 1 in 160 give sqrt(ln 160 / 118).
    assert margin(59, 1 / 160) == pytest.approx(0.2074, abs=1e-4)
    assert margin(59, 0.9) == margin(59, 0.5), "the constant is proven for misses up to a half"


def test_a_part_like_the_good_ones_is_no_evidence():
    watched = evidence(np.linspace(0, 1, 59))
    assert alarms(watched, [0.5] * 10_000) == 0


def test_the_number_of_parts_until_an_alarm_is_that_of_the_bets():
    # 100 good parts: margin sqrt(ln(100) / 200) = 0.1517, the boldest bet pays 0.5 + 0.5 / 0.1717.
    watched = evidence(np.linspace(0, 1, 100), miss=0.01, every=1000.0)
    pays = [1 - s + s / (margin(100, 0.01) + above) for above, s in ((0.02, 0.5), (0.15, 0.5))]
    pays.append(0.75 + 0.25 / (margin(100, 0.01) + 0.3))
    sums, parts = np.zeros(3), 0
    while sums.mean() < 1000:
        sums, parts = (1 + sums) * pays, parts + 1
    for index in range(parts):
        assert not watched.is_on, index
        watched.see(2.0)
    assert watched.is_on and parts == 7


@pytest.mark.parametrize("draw", ["uniform", "normal", "two values"])
def test_false_alarms_stay_within_the_rate_and_the_rate_is_not_idle(draw):
    rng = np.random.default_rng(3)
    draws = {
        "uniform": rng.random,
        "normal": rng.standard_normal,
        "two values": lambda n: rng.integers(0, 2, n).astype(float),
    }
    every, parts = 50.0, 20_000
    # So many good parts that the margin is next to nothing, and the bets are nearly fair.
    watched = evidence(draws[draw](200_000), miss=0.01, every=every)
    count = alarms(watched, draws[draw](parts))
    assert count <= parts / every
    if draw != "two values":  # whose p-values are a half or one: no bet is ever won
        assert count > 10


def test_few_good_parts_keep_the_promise_for_their_draw():
    every, parts, broken = 200.0, 2000, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        watched = evidence(rng.standard_normal(20), miss=0.05, every=every)
        broken += alarms(watched, rng.standard_normal(parts)) > parts / every
    assert broken <= 3  # 5 % of 60


def test_twenty_parts_still_find_a_jump():
    watched = evidence(np.linspace(0, 1, 20), miss=0.05 / 8, every=8e5)
    assert alarms(watched, [3.0] * 60) == 1


def test_what_is_within_the_tolerance_is_no_change():
    good = np.full(59, 0.5)
    assert alarms(evidence(good, tolerance=0.1), [0.6] * 2000) == 0
    assert alarms(evidence(good, tolerance=0.1), [0.61] * 2000) == 1


def test_an_alarm_stays_through_a_few_good_parts_and_goes_off_after_many():
    watched = evidence(np.linspace(0, 1, 59), clear_after=20)
    alarms(watched, [2.0] * 50)
    for _ in range(10):
        for value in (0.4, 0.4, 2.0):
            watched.see(value)
    assert watched.is_on, "a third of the parts are still far off"
    for _ in range(20):
        assert watched.is_on
        watched.see(0.4)
    assert not watched.is_on
    assert alarms(watched, [2.0] * 50) == 1, "and it can be raised again"
