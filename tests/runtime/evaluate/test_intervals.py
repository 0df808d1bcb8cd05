"""Whether the intervals of image figures hold the truth as often as they should."""

import numpy as np
import pytest

from zsad.evaluate.compare import image_estimates
from zsad.evaluate.measure import Sampling
from zsad.metrics.bootstrap import Estimate, interval_of

TRUTH = {"image_auroc": 0.7602, "image_ap": 0.7530, "image_f1_max": 0.7191}
"""Of unit normals one apart, as many of either label; AP and F1max by numerical integration."""


def test_intervals_of_image_figures_hold_the_truth():
    covered = {name: [] for name in TRUTH}
    labels = np.arange(100) < 50
    for seed in range(150):
        scores = np.random.default_rng(seed).normal(size=100) + labels
        found = image_estimates(scores, labels, Sampling(150, (seed, 0)))
        for name, truth in TRUTH.items():
            interval = interval_of(found[name].draws)
            covered[name].append(interval.low <= truth <= interval.high)
    least = {"image_auroc": 0.87, "image_ap": 0.8, "image_f1_max": 0.82}
    assert all(least[name] <= np.mean(held) <= 1 for name, held in covered.items())


def test_draws_of_a_maximum_move_down_by_twice_their_excess():
    estimate = Estimate(0.5, np.array([0.6, 0.7, np.nan]))
    assert estimate.without_bias().draws == pytest.approx([0.3, 0.4, np.nan], nan_ok=True)
    assert estimate.without_bias().value == 0.5
    perfect = Estimate(1.0, np.ones(4))
    assert perfect.without_bias().draws.tolist() == [1, 1, 1, 1]
    assert Estimate(0.1, np.array([0.5, 0.9])).without_bias().draws.min() == 0
