import numpy as np
import pytest

from zsad_calibration.int8.histogram import BINS, Histogram, power_of_two_above


def test_bins_are_of_equal_width_below_a_power_of_two():
    histogram = Histogram.of(np.array([0.0, -0.25, 0.5, 3.0]))
    assert (histogram.top, histogram.largest) == (4.0, 3.0)
    assert np.flatnonzero(histogram.counts).tolist() == [0, BINS // 16, BINS // 8, 3 * BINS // 4]


def test_the_largest_possible_value_is_in_the_last_bin():
    histogram = Histogram.of(np.array([-8.0]))
    assert (histogram.top, histogram.counts[-1]) == (8.0, 1.0)


@pytest.mark.parametrize(("value", "power"), [(3.0, 4.0), (4.0, 4.0), (4.01, 8.0), (0.3, 0.5)])
def test_power_of_two(value, power):
    assert power_of_two_above(value) == power


def test_nothing_but_zeros_is_counted_too():
    histogram = Histogram.of(np.zeros(5))
    assert (histogram.counts[0], histogram.largest) == (5.0, 0.0)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_parts_in_any_order_give_the_histogram_of_the_whole(order):
    rng = np.random.default_rng(3)
    parts = [rng.normal(0, spread, 1000) for spread in (0.01, 1.0, 40.0)]
    whole = Histogram.of(np.concatenate(parts))
    merged = Histogram.of(parts[order[0]])
    for index in order[1:]:
        merged = merged.merged(Histogram.of(parts[index]))
    np.testing.assert_array_equal(merged.counts, whole.counts)
    assert (merged.top, merged.largest) == (whole.top, whole.largest)


def test_a_range_can_grow_beyond_every_bin():
    merged = Histogram.of(np.full(3, 1e-9)).merged(Histogram.of(np.array([1e6])))
    assert (merged.counts[0], merged.counts.sum()) == (3.0, 4.0)
