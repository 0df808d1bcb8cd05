import numpy as np
import pytest

from zsad.errors import InputError
from zsad.metrics import auroc
from zsad.metrics.bootstrap import (
    Estimate,
    bootstrap_draws,
    bootstrap_interval,
    interval_of,
    mean_of,
    pixel_draws,
    resamples,
)
from zsad.metrics.pixel_counts import counts_auroc, pixel_counts


def normal_scores(seed, n_good=80, n_defective=40, shift=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n_good + n_defective) < n_defective
    return rng.normal(size=labels.size) + shift * labels, labels


def test_resamples_keep_the_size_of_both_groups():
    groups = np.array([True, False, False, True, False])
    for chosen in resamples(groups, 20, seed=1):
        assert groups[chosen].sum() == 2
        assert chosen.size == 5


def test_resamples_of_one_group_draw_with_replacement():
    drawn = list(resamples(np.ones(6, dtype=bool), 50, seed=0))
    assert any(len(set(chosen)) < 6 for chosen in drawn)
    assert set(np.concatenate(drawn)) == set(range(6))


def test_interval_is_the_central_95_percent():
    interval = interval_of(np.arange(1001.0))
    assert (interval.low, interval.high) == pytest.approx((25, 975))


def test_interval_covers_the_true_auroc_about_95_times_in_100():
    # Two unit normals one apart: AUROC = Phi(1/sqrt(2)) = 0.76025.
    covered = [
        interval.low <= 0.76025 <= interval.high
        for interval in (
            bootstrap_interval(auroc, *normal_scores(seed), n=200, seed=seed) for seed in range(150)
        )
    ]
    assert 0.89 <= np.mean(covered) <= 0.99


def test_interval_holds_the_point_and_repeats_with_its_seed():
    scores, labels = normal_scores(0)
    first = bootstrap_interval(auroc, scores, labels, n=200, seed=3)
    assert first == bootstrap_interval(auroc, scores, labels, n=200, seed=3)
    assert first != bootstrap_interval(auroc, scores, labels, n=200, seed=4)
    assert first.low < auroc(scores, labels) < first.high


def test_draws_of_two_scores_are_paired():
    scores, labels = normal_scores(1)
    ours = bootstrap_draws(auroc, scores, labels, n=50, seed=0)
    same_ranking = bootstrap_draws(auroc, 3 * scores + 1, labels, n=50, seed=0)
    assert np.array_equal(ours, same_ranking)


def test_pixel_draws_equal_the_metric_of_the_resampled_images():
    rng = np.random.default_rng(0)
    masks = rng.random((6, 5, 5)) < 0.2
    masks[:2] = False
    maps = rng.integers(0, 9, masks.shape) / 8 + 0.3 * masks
    counts = pixel_counts(maps, masks)
    draws = pixel_draws(counts_auroc, counts, n=10, seed=5)
    expected = [
        auroc(maps[chosen].ravel(), masks[chosen].ravel())
        for chosen in resamples(masks.any(axis=(1, 2)), 10, seed=5)
    ]
    assert draws == pytest.approx(expected, abs=1e-12)


def test_estimates_keep_their_draws_paired():
    first, second = Estimate(0.5, np.array([0.4, 0.6])), Estimate(0.25, np.array([0.2, 0.5]))
    margin, mean = first - second, mean_of([first, second])
    assert margin.value == 0.25
    assert margin.draws == pytest.approx([0.2, 0.1])
    assert mean.value == 0.375
    assert mean.draws == pytest.approx([0.3, 0.55])


def test_an_estimate_moves_with_its_draws():
    moved = Estimate(0.5, np.array([0.4, 0.6])).moved_to(0.55)
    assert moved.value == 0.55
    assert moved.draws == pytest.approx([0.45, 0.65])


def test_shapes_are_checked():
    with pytest.raises(InputError, match=r"\(3,\) and \(2,\)"):
        bootstrap_interval(auroc, [1, 2, 3], [0, 1])
