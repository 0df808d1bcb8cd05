import math

import numpy as np
import pytest

from zsad.errors import InputError
from zsad.metrics.agreement import flip_bound, flips_at, kendall_tau, verdict_flips


def test_equal_scores_decide_alike_at_every_threshold():
    flips = verdict_flips([0.1, 0.7, 0.7], [0.1, 0.7, 0.7])
    assert (flips.frames, flips.most, flips.threshold, flips.area) == (3, 0, None, 0)


def test_flips_by_hand():
    # Verdicts differ from 0.25 up to 0.5, from 0.375 up to 0.75, and nowhere: two at 0.375.
    flips = verdict_flips([0.25, 0.75, 0.9], [0.5, 0.375, 0.9])
    assert (flips.most, flips.threshold) == (2, 0.375)
    assert flips.area == pytest.approx((0.25 + 0.375) / 3)


def test_a_frame_that_ends_where_another_begins_does_not_count_twice():
    flips = verdict_flips([0.25, 0.5], [0.5, 0.75])
    assert (flips.most, flips.threshold) == (1, 0.25)


def test_the_exact_maximum_is_that_of_all_thresholds_tried_one_by_one():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 40, 300) / 40  # ties
    b = np.clip(a + rng.integers(-3, 4, 300) / 40, 0, 1)
    counts = {t: int(((a > t) != (b > t)).sum()) for t in np.unique(np.concatenate([a, b]))}
    flips = verdict_flips(a, b)
    assert flips.most == max(counts.values()) == flips_at(a, b, flips.threshold)
    assert flips.threshold == min(t for t, count in counts.items() if count == flips.most)
    fine = np.linspace(0, 1, 4001)
    shares = [((a > t) != (b > t)).mean() for t in fine]
    assert flips.area == pytest.approx(np.mean(shares), abs=1e-3)


def test_a_score_on_the_threshold_is_no_alarm():
    assert flips_at([0.5, 0.5], [0.5, 0.6], 0.5) == 1
    assert flips_at([0.5, 0.5], [0.5, 0.6], 0.4) == 0


@pytest.mark.parametrize("frames", [1, 10, 299, 2223])
def test_no_flip_among_n_frames_is_the_rule_of_three(frames):
    bound = flip_bound(0, frames)
    assert bound == pytest.approx(1 - 0.05 ** (1 / frames))
    if frames > 100:
        assert bound == pytest.approx(3 / frames, rel=0.01)


def test_the_bound_with_flips_is_clopper_and_pearson():
    # From Clopper and Pearson's condition itself: 2 or fewer of 10 have a chance of 5 %.
    p = flip_bound(2, 10)
    tail = sum(math.comb(10, k) * p**k * (1 - p) ** (10 - k) for k in range(3))
    assert tail == pytest.approx(0.05, abs=1e-9)
    assert p == pytest.approx(0.5069, abs=1e-4)
    assert flip_bound(10, 10) == 1
    # No underflow in long runs, where it comes near to the normal approximation.
    assert flip_bound(1000, 100_000) == pytest.approx(
        0.01 + 1.645 * (0.0099 / 1e5) ** 0.5, rel=3e-3
    )


@pytest.mark.parametrize(("flips", "frames"), [(0, 0), (-1, 4), (5, 4)])
def test_a_bound_needs_frames(flips, frames):
    with pytest.raises(InputError, match="have no bound"):
        flip_bound(flips, frames)


def test_tau_by_hand():
    assert kendall_tau([1, 2, 3, 4], [10, 20, 30, 40]) == 1
    assert kendall_tau([1, 2, 3, 4], [4, 3, 2, 1]) == -1
    # One of six pairs is the other way round.
    assert kendall_tau([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)
    # A tie on one side: five pairs are told apart by the second, six by the first.
    assert kendall_tau([1, 2, 3, 4], [1, 2, 2, 4]) == pytest.approx(5 / math.sqrt(6 * 5))
    assert kendall_tau([1, 2], [3, 3]) is None
    assert kendall_tau([1], [1]) is None


def test_a_tau_of_one_leaves_auroc_as_it_was():
    from zsad.metrics import auroc

    rng = np.random.default_rng(1)
    scores, labels = rng.random(50), np.arange(50) % 2 == 0
    squeezed = scores**3 / 7
    assert kendall_tau(scores, squeezed) == 1
    assert auroc(scores, labels) == auroc(squeezed, labels)


@pytest.mark.parametrize("function", [verdict_flips, kendall_tau])
@pytest.mark.parametrize("bad", [([0.1], [0.1, 0.2]), ([], []), ([np.nan], [0.1])])
def test_scores_that_decide_nothing_are_refused(function, bad):
    with pytest.raises(InputError, match="score"):
        function(*bad)
