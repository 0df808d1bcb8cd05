import numpy as np
import pytest

from zsad_calibration.int8.histogram import BINS, Histogram
from zsad_calibration.int8.ranges import LEVELS, entropy_range, minmax_range, percentile_range
from zsad_calibration.int8.weights import as_quantized


def spread(counts, top=4.0):
    counts = np.asarray(counts, float)
    used = int(np.flatnonzero(counts).max()) + 1
    return Histogram(counts, top, used * top / BINS)


def test_minmax_is_the_largest_value_and_not_the_end_of_its_bin():
    assert minmax_range(Histogram.of(np.array([0.1, -2.7]))) == 2.7


@pytest.mark.parametrize(("share", "bins"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_percentile_is_exact_where_every_bin_holds_one_value(share, bins):
    histogram = spread([1.0] * 100 + [0.0] * (BINS - 100))
    assert percentile_range(histogram, share) == bins * 4.0 / BINS


def test_percentile_never_leaves_what_was_met():
    histogram = Histogram.of(np.array([1.0001]))
    assert percentile_range(histogram) == 1.0001


def test_entropy_keeps_a_uniform_distribution_whole():
    histogram = spread([5.0] * BINS)
    assert entropy_range(histogram) == 4.0


def test_entropy_gives_up_a_few_far_values_for_the_many_near_ones():
    counts = np.rint(1e6 * np.exp(-np.arange(BINS) / 40))
    counts[-1] = 1.0
    found = entropy_range(spread(counts))
    assert 300 * 4.0 / BINS < found < 700 * 4.0 / BINS


def test_entropy_of_what_has_no_more_bins_than_codes_is_all_of_it():
    counts = np.zeros(BINS)
    counts[: LEVELS + 1] = 1.0
    assert entropy_range(spread(counts)) == (LEVELS + 1) * 4.0 / BINS


def test_entropy_errs_less_than_minmax_on_a_heavy_tail():
    values = np.random.default_rng(0).standard_t(3, 200_000).astype(np.float32)
    histogram = Histogram.of(values)
    errors = [
        float(np.abs(as_quantized(values, find(histogram)) - values).mean())
        for find in (minmax_range, entropy_range)
    ]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("find", [minmax_range, percentile_range, entropy_range])
def test_nothing_but_zeros_has_no_range(find):
    assert find(Histogram.of(np.zeros(9))) == 0.0
