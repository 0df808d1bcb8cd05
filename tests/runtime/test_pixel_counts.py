import numpy as np
import pytest

from zsad.metrics import Curve, aupro, average_precision, pixel_ap, pixel_auroc, pixel_f1_max
from zsad.metrics.pixel_counts import (
    count_levels,
    counts_ap,
    counts_aupro,
    counts_auroc,
    counts_f1_max,
    counts_pro_curve,
    pixel_counts,
    region_shares,
    total_of,
)

NONE = [0, 0]


def smooth_case(seed, images=6, size=40):
    rng = np.random.default_rng(seed)
    masks = np.zeros((images, size, size), bool)
    masks[::2, 5:12, 8:20] = True
    maps = np.clip(rng.normal(0.02, 0.004, masks.shape) + 0.006 * masks, 0, 1)
    return maps.astype(np.float32), masks


def test_levels_are_counted_apart_by_the_mask():
    levels = np.array([[0, 2], [2, 1]])
    mask = np.array([[False, True], [False, False]])
    counts = count_levels(levels, mask, region_shares(mask), 3)
    assert counts.tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 1]]


def test_few_distinct_scores_are_counted_exactly():
    rng = np.random.default_rng(0)
    masks = rng.random((4, 9, 9)) < 0.3
    maps = rng.integers(0, 12, masks.shape) / 11 + 0.2 * masks
    pooled = total_of(pixel_counts(maps, masks))
    assert counts_auroc(pooled) == pytest.approx(pixel_auroc(maps, masks), abs=1e-12)
    assert counts_ap(pooled) == pytest.approx(pixel_ap(maps, masks), abs=1e-12)
    assert counts_f1_max(pooled) == pytest.approx(pixel_f1_max(maps, masks).f1, abs=1e-12)
    # Shares of regions are kept in float32.
    assert counts_aupro(pooled) == pytest.approx(aupro(maps, masks), abs=1e-6)
    x, y = counts_pro_curve(pooled)
    assert Curve(x, y).area(0.3) / 0.3 == pytest.approx(aupro(maps, masks), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_bins_follow_scores_crowded_in_a_corner_of_the_range(seed):
    maps, masks = smooth_case(seed)
    counts = pixel_counts(maps, masks)
    assert counts[:, :2].sum() == maps.size
    assert counts[1, 1].sum() == 0, "the second image has no defect"
    pooled = total_of(counts)
    assert counts_auroc(pooled) == pytest.approx(pixel_auroc(maps, masks), abs=1e-3)
    assert counts_ap(pooled) == pytest.approx(pixel_ap(maps, masks), abs=3e-3)
    assert counts_f1_max(pooled) == pytest.approx(pixel_f1_max(maps, masks).f1, abs=3e-3)
    assert counts_aupro(pooled) == pytest.approx(aupro(maps, masks), abs=1e-3)


def test_a_batch_of_histograms_gives_one_figure_each():
    counts = np.array([[[2, 0], [0, 2], NONE], [[0, 2], [2, 0], NONE], [[1, 1], [1, 1], NONE]])
    assert counts_auroc(counts).tolist() == [1.0, 0.0, 0.5]
    expected = average_precision([0, 0, 1, 1], [1, 1, 0, 0])
    assert counts_ap(counts).tolist() == [1.0, expected, 0.5]


def test_a_missing_side_is_nan_not_a_number():
    counts = np.array([[[2, 1], NONE, NONE], [NONE, [2, 1], [1, 1]]])
    assert np.isnan(counts_auroc(counts)).all()
    assert np.isnan(counts_aupro(counts)).all()
    assert np.isnan(counts_ap(counts)).tolist() == [True, False]
    assert np.isnan(counts_f1_max(counts)).tolist() == [True, False]
