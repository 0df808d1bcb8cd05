import numpy as np
import pytest
from scipy.stats import beta, binom, norm

from zsad.errors import InputError
from zsad_calibration.threshold import (
    parts_needed,
    percent,
    rejects_allowed,
    supported_share,
    threshold_from,
    thresholds_from,
)


def scores(n, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.6, n).tolist()


def test_one_percent_at_95_percent_confidence_takes_299_parts():
    assert parts_needed(0.01, 0.95) == 299
    assert 1 - 0.99**298 < 0.95 < 1 - 0.99**299


@pytest.mark.parametrize(("share", "confidence", "needed"), [(0.5, 0.75, 2), (0.5, 0.5, 1)])
def test_rounding_asks_for_no_part_too_many(share, confidence, needed):
    assert parts_needed(share, confidence) == needed


def test_the_supported_share_is_that_of_the_maximum():
    for n in (1, 20, 299, 5000):
        assert 1 - (1 - supported_share(n, 0.95)) ** n == pytest.approx(0.95)


@pytest.mark.parametrize("n", [299, 300, 473, 474, 1000, 5000])
@pytest.mark.parametrize("share", [0.01, 0.03])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_rejects_allowed_agree_with_scipy(n, share, confidence):
    allowed = rejects_allowed(n, share, confidence)
    assert binom.cdf(allowed, n, share) <= 1 - confidence
    assert binom.cdf(allowed + 1, n, share) > 1 - confidence


def test_the_promise_equals_the_beta_law_of_the_order_statistic():
    n, share = 1000, 0.01
    k = n - rejects_allowed(n, share, 0.95)
    assert beta.cdf(share, n - k + 1, k) >= 0.95
    assert beta.cdf(share, n - k + 2, k - 1) < 0.95


def test_many_parts_do_not_underflow():
    n, share = 200_000, 0.01
    allowed = rejects_allowed(n, share, 0.95)
    assert binom.cdf(allowed, n, share) <= 0.05 < binom.cdf(allowed + 1, n, share)


def test_without_a_promise_the_maximum_is_taken_and_its_bound_stated():
    values = scores(40)
    threshold = threshold_from(values)
    assert threshold.value == max(values)
    assert threshold.bound.n_unique == 40
    assert threshold.bound.max_false_reject == pytest.approx(1 - 0.05 ** (1 / 40))


def test_more_parts_than_needed_buy_a_lower_threshold():
    values = scores(1000)
    allowed = rejects_allowed(1000, 0.01, 0.95)
    assert allowed == 4
    threshold = threshold_from(values, max_false_reject=0.01)
    assert threshold.value == sorted(values)[-1 - allowed]
    assert sum(v > threshold.value for v in values) == allowed
    assert threshold.bound.max_false_reject == 0.01


def test_a_promise_that_the_parts_cannot_carry_is_refused():
    with pytest.raises(InputError, match="298 unique good frames cannot promise at most 1 % false"):
        threshold_from(scores(298), max_false_reject=0.01)
    assert threshold_from(scores(299), max_false_reject=0.01).value == max(scores(299))


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.uniform(size=n),
        lambda rng, n: rng.beta(0.5, 8, size=n),
        lambda rng, n: rng.integers(0, 30, size=n) / 30,
    ],
    ids=["uniform", "skewed", "tied"],
)
@pytest.mark.parametrize(("n", "share"), [(60, None), (200, 0.05)])
def test_the_promise_holds_in_95_of_100_calibrations(draw, n, share):
    rng = np.random.default_rng(11)
    process = np.sort(draw(rng, 100_000)).clip(0, 0.999)
    kept = 0
    for _ in range(2000):
        threshold = threshold_from(rng.choice(process, n).tolist(), max_false_reject=share)
        above = 1 - np.searchsorted(process, threshold.value, side="right") / process.size
        kept += above <= threshold.bound.max_false_reject
    # Three standard errors of a share of 0.95 over 2000 trials are 0.015.
    assert kept / 2000 >= 0.935


def test_the_promise_is_not_needlessly_wide():
    # With continuous scores and the maximum, the promise holds in just 95 % of the cases.
    rng = np.random.default_rng(5)
    held = [
        1 - threshold_from(rng.uniform(size=60).tolist()).value <= supported_share(60, 0.95)
        for _ in range(2000)
    ]
    assert 0.935 <= np.mean(held) <= 0.965


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "at least one"),
        ([0.1, float("nan")], {}, "outside [0, 1]"),
        ([0.1, 1.2], {}, "outside [0, 1]"),
        ([-0.1, 0.2], {}, "outside [0, 1]"),
        ([0.1, 1.0], {}, "top of the scale"),
        ([0.1], {"max_false_reject": 0.0}, "--max-false-reject is 0.0"),
        ([0.1], {"confidence": 1.0}, "--confidence is 1.0"),
    ],
)
def test_what_cannot_give_a_threshold_is_an_error(values, options, message):
    with pytest.raises(InputError) as caught:
        threshold_from(values, **options)
    assert message in str(caught.value)


def test_shares_read_as_percent():
    assert (percent(0.01), percent(0.0125), percent(0.07214)) == ("1 %", "1.25 %", "7.21 %")


class TestSeveralScores:
    @pytest.mark.parametrize("scores", [2, 5, 9])
    @pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
    def test_the_number_of_parts_is_the_least_that_scipy_agrees_to(self, scores, share):
        n = parts_needed(share, 0.95, scores)
        assert binom.cdf(scores - 1, n, share) <= 0.05 < binom.cdf(scores - 1, n - 1, share)

    def test_five_scores_take_fewer_parts_than_an_even_split(self):
        assert parts_needed(0.01, 0.95, 5) == 913
        assert parts_needed(0.01 / 5, 1 - 0.05 / 5) == 2301

    def test_the_supported_share_solves_the_binomial(self):
        for n, taken in ((10, 2), (300, 5), (5000, 40)):
            share = supported_share(n, 0.95, taken)
            assert binom.cdf(taken - 1, n, share) == pytest.approx(0.05)

    def test_parts_are_taken_away_in_the_order_of_the_scores(self):
        parts = [(0.9, 0.1), (0.8, 0.7), (0.1, 0.6), (0.2, 0.5), (0.3, 0.2)]
        values, bound = thresholds_from(parts)
        # The first score takes (0.9, 0.1) away, the second (0.8, 0.7).
        assert values == (0.9, 0.7)
        assert bound.max_false_reject == pytest.approx(supported_share(5, 0.95, 2))

    def test_one_score_is_the_same_as_before(self):
        values = scores(700)
        several, bound = thresholds_from([[v] for v in values], 0.02)
        single = threshold_from(values, 0.02)
        assert (several, bound) == ((single.value,), single.bound)

    @pytest.mark.parametrize("correlation", [0.0, 0.95])
    @pytest.mark.parametrize(("n", "share"), [(60, None), (400, 0.05)])
    def test_the_whole_promise_holds_in_95_of_100_calibrations(self, correlation, n, share):
        rng = np.random.default_rng(7)
        common = rng.normal(size=(40_000, 1)) * correlation**0.5
        own = rng.normal(size=(40_000, 4)) * (1 - correlation) ** 0.5
        process = norm.cdf(common + own).clip(0, 0.999999)
        kept = []
        for _ in range(600):
            drawn = process[rng.choice(len(process), n)].tolist()
            values, bound = thresholds_from(drawn, share)
            kept.append((process > values).any(axis=1).mean() <= bound.max_false_reject)
        # Three standard errors of a share of 0.95 over 600 trials are 0.027.
        assert np.mean(kept) >= 0.923
        if share is None:
            assert np.mean(kept) <= 0.977  # nor is it needlessly wide

    def test_too_few_parts_are_refused(self):
        parts = [(0.1, 0.2, 0.3)] * 2
        with pytest.raises(InputError, match="2 unique good frames are fewer than the 3 scores"):
            thresholds_from(parts)
        with pytest.raises(InputError, match="rejects about 3 scores with 95 % confidence, that"):
            thresholds_from(parts, 0.1)
        with pytest.raises(InputError, match="top of the scale"):
            thresholds_from([(0.1, 1.0), (0.2, 0.5)])
