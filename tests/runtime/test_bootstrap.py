import cv2
import numpy as np
import pytest

from zsad.errors import InputError
from zsad.metrics import aupro, auroc, pixel_auroc, rcpro
from zsad.metrics.bootstrap import (
    Estimate,
    bootstrap_draws,
    bootstrap_interval,
    interval_of,
    mean_of,
    resampled_counts,
    resamples,
)
from zsad.metrics.pixel_counts import counts_aupro, counts_auroc, pixel_counts, total_of
from zsad.metrics.rcpro import counts_rcpro, rcpro_counts


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


@pytest.mark.parametrize(
    ("metric", "counts_of", "counted"),
    [
        (pixel_auroc, pixel_counts, counts_auroc),
        (aupro, pixel_counts, counts_aupro),
        (rcpro, rcpro_counts, counts_rcpro),
    ],
)
def test_counted_draws_equal_the_metric_of_the_resampled_images(metric, counts_of, counted):
    rng = np.random.default_rng(0)
    masks = rng.random((6, 12, 12)) < 0.1
    masks[:2] = False
    maps = rng.integers(0, 9, masks.shape) / 8 + 0.3 * masks
    # Both ends of the range in two images of either group, so that any resample has both.
    maps[:, 0, :2] = 0, 1.3
    has_defect = masks.any(axis=(1, 2))
    drawn = resampled_counts(counts_of(maps, masks), has_defect, n=10, seed=5)
    expected = [metric(maps[chosen], masks[chosen]) for chosen in resamples(has_defect, 10, seed=5)]
    assert counted(drawn) == pytest.approx(expected, abs=1e-6)
    assert np.ptp(expected) > 0


def blurred_maps(rng, n, side=24):
    """n good and n defective maps, whose one or two defects differ in how visible they are."""
    masks = np.zeros((2 * n, side, side), bool)
    noise = rng.normal(size=masks.shape).astype(np.float32)
    maps = 4 * np.stack([cv2.GaussianBlur(m, (0, 0), 2) for m in noise])
    for anomaly_map, mask in zip(maps[:n], masks[:n], strict=True):
        for _ in range(rng.integers(1, 3)):
            (top, left), (height, width) = rng.integers(0, side - 6, 2), rng.integers(2, 6, 2)
            mask[top : top + height, left : left + width] = True
        anomaly_map[mask] += rng.gamma(1.5, 1.0)
    return maps, masks


def test_intervals_of_aupro_and_rcpro_cover_about_95_times_in_100():
    true_aupro = aupro(*blurred_maps(np.random.default_rng(999), 2000))
    covered, rcpro_values, rcpro_intervals = [], [], []
    for seed in range(40):
        maps, masks = blurred_maps(np.random.default_rng([20, seed]), 20)
        has_defect = masks.any(axis=(1, 2))
        counts = pixel_counts(maps, masks)
        draws = counts_aupro(resampled_counts(counts, has_defect, 200, seed))
        estimate = Estimate(float(counts_aupro(total_of(counts))), draws)
        interval = interval_of(estimate.moved_to(aupro(maps, masks)).draws)
        covered.append(interval.low <= true_aupro <= interval.high)
        regions = rcpro_counts(maps, masks)
        rcpro_values.append(float(counts_rcpro(total_of(regions))))
        rcpro_intervals.append(
            interval_of(counts_rcpro(resampled_counts(regions, has_defect, 200, seed)))
        )
    assert 0.85 <= np.mean(covered) <= 1
    # Its thresholds follow the range of the scores, so its truth is that of sets of this size.
    true_rcpro = np.mean(rcpro_values)
    assert 0.85 <= np.mean([i.low <= true_rcpro <= i.high for i in rcpro_intervals]) <= 1


def test_a_subset_without_the_highest_scores_keeps_the_curve_of_rcpro():
    masks = np.zeros((3, 8, 8), bool)
    masks[:, 2:4, 2:4] = True
    maps = np.zeros(masks.shape)
    maps[0, 2:4, 2:4] = 1
    maps[1:, 2:4, 2:3], maps[1, 6, 6] = 0.5, 0.4
    counts = rcpro_counts(maps, masks)
    assert counts_rcpro(counts[1:].sum(axis=0)) == pytest.approx(rcpro(maps[1:], masks[1:]))


def test_resamples_that_cannot_give_a_figure_are_left_out_of_its_interval():
    draws = np.append(np.arange(1001.0), [np.nan] * 50)
    assert interval_of(draws) == interval_of(np.arange(1001.0))
    with pytest.raises(InputError, match="no resample"):
        interval_of(np.full(3, np.nan))


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
    assert Estimate(0.9, np.array([0.8, 0.95])).moved_to(1).draws == pytest.approx([0.9, 1])


def test_shapes_are_checked():
    with pytest.raises(InputError, match=r"\(3,\) and \(2,\)"):
        bootstrap_interval(auroc, [1, 2, 3], [0, 1])
