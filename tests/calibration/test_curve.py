import numpy as np
import pytest
from scipy.stats import beta

from zsad_calibration.curve import false_rejects
from zsad_calibration.threshold import threshold_from


def test_the_first_point_is_the_threshold_of_the_recipe():
    scores = np.random.default_rng(0).uniform(0, 0.9, 300).tolist()
    threshold = threshold_from(scores)
    first = false_rejects(scores, 0.95)[0]
    assert first.threshold == threshold.value
    assert first.max_share == pytest.approx(threshold.bound.max_false_reject)
    assert first.expected_share == pytest.approx(1 / 301)


def test_each_point_is_the_beta_law_of_its_order_statistic():
    scores = (np.arange(100) / 200).tolist()
    points = false_rejects(scores, 0.9)
    assert [round(100 * p.expected_share * 1.01) for p in points] == [1, 2, 3, 5, 8, 12, 18]
    for point in points:
        above = sum(score > point.threshold for score in scores)
        law = beta(above + 1, 100 - above)
        assert point.expected_share == pytest.approx(law.mean())
        assert point.max_share == pytest.approx(law.ppf(0.9))


def test_it_falls_in_threshold_and_rises_in_cost():
    scores = np.random.default_rng(1).beta(1, 9, 500).tolist()
    points = false_rejects(scores, 0.95)
    thresholds, expected, upper = zip(
        *((p.threshold, p.expected_share, p.max_share) for p in points), strict=True
    )
    assert list(thresholds) == sorted(thresholds, reverse=True)
    assert list(expected) == sorted(expected)
    assert all(share < bound for share, bound in zip(expected, upper, strict=True))


def test_equal_scores_give_one_point():
    (point,) = false_rejects([0.5] * 50, 0.95)
    assert (point.threshold, point.expected_share) == (0.5, pytest.approx(1 / 51))


def test_one_part_says_little():
    (point,) = false_rejects([0.3], 0.95)
    assert (point.expected_share, point.max_share) == (0.5, pytest.approx(0.95))
