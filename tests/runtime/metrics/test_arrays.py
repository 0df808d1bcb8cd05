"""What every metric takes, and refuses."""

import numpy as np
import pytest

from zsad.errors import InputError
from zsad.metrics import aupro, auroc, bootstrap_interval, pixel_auroc, rcpro

RNG = np.random.default_rng(0)
MAPS = RNG.random((2, 5, 6)).astype(np.float32)
MASKS = RNG.random((2, 5, 6)) < 0.3


@pytest.mark.parametrize("metric", [aupro, rcpro, pixel_auroc])
@pytest.mark.parametrize("kind", [">f4", "<f4", ">f8", "<f8"])
def test_the_byte_order_of_a_file_changes_nothing(metric, kind):
    assert metric(MAPS.astype(kind), MASKS) == metric(MAPS, MASKS)


def test_maps_that_fit_are_not_copied():
    from zsad.metrics.arrays import as_floats

    for kind in (np.float32, np.float64):
        maps = MAPS.astype(kind)
        assert as_floats(maps) is maps


@pytest.mark.parametrize("metric", [aupro, rcpro, pixel_auroc])
def test_maps_of_two_sizes_are_one_line(metric):
    maps, masks = [np.zeros((2, 2)), np.zeros((3, 3))], [np.zeros((2, 2)), np.ones((3, 3))]
    with pytest.raises(InputError, match="scores must be of one size, found several"):
        metric(maps, masks)
    with pytest.raises(InputError, match="masks must be of one size, found several"):
        metric(MAPS, masks)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_scores_too_far_apart_to_spread_thresholds_are_an_error_not_a_zero(kind):
    most = float(np.finfo(kind).max)
    maps, masks = np.array([[[most, -most, 0]]], kind), np.array([[[True, False, False]]])
    for call in (lambda: rcpro(maps, masks), lambda: aupro(maps, masks, thresholds=200)):
        with pytest.raises(InputError, match="are too far apart for float"):
            call()
    assert aupro(maps, masks) == 1


@pytest.mark.parametrize("labels", [[0, 1, 7], [0, 1, np.nan], ["0", "1", "1"]])
def test_labels_of_a_bootstrap_are_checked_as_those_of_its_metric(labels):
    with pytest.raises(InputError, match="labels must be 0"):
        bootstrap_interval(auroc, [1, 2, 3], labels)
