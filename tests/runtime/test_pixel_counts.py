import numpy as np
import pytest

from zsad.metrics import average_precision, pixel_ap, pixel_auroc
from zsad.metrics.pixel_counts import count_levels, counts_ap, counts_auroc, pixel_counts


def smooth_case(seed, images=6, size=40):
    rng = np.random.default_rng(seed)
    masks = np.zeros((images, size, size), bool)
    masks[::2, 5:12, 8:20] = True
    maps = np.clip(rng.normal(0.02, 0.004, masks.shape) + 0.006 * masks, 0, 1)
    return maps.astype(np.float32), masks


def test_levels_are_counted_apart_by_the_mask():
    levels = np.array([[0, 2], [2, 1]])
    mask = np.array([[False, True], [False, False]])
    assert count_levels(levels, mask, 3).tolist() == [[1, 1, 1], [0, 0, 1]]


def test_few_distinct_scores_are_counted_exactly():
    rng = np.random.default_rng(0)
    masks = rng.random((4, 9, 9)) < 0.3
    maps = rng.integers(0, 12, masks.shape) / 11 + 0.2 * masks
    pooled = pixel_counts(maps, masks).sum(axis=0)
    assert counts_auroc(pooled) == pytest.approx(pixel_auroc(maps, masks), abs=1e-12)
    assert counts_ap(pooled) == pytest.approx(pixel_ap(maps, masks), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_bins_follow_scores_crowded_in_a_corner_of_the_range(seed):
    maps, masks = smooth_case(seed)
    counts = pixel_counts(maps, masks)
    assert counts.sum() == maps.size
    assert counts[1, 1].sum() == 0, "the second image has no defect"
    pooled = counts.sum(axis=0)
    assert counts_auroc(pooled) == pytest.approx(pixel_auroc(maps, masks), abs=1e-3)
    assert counts_ap(pooled) == pytest.approx(pixel_ap(maps, masks), abs=3e-3)


def test_a_batch_of_histograms_gives_one_figure_each():
    counts = np.array([[[2, 0], [0, 2]], [[0, 2], [2, 0]], [[1, 1], [1, 1]]])
    assert counts_auroc(counts).tolist() == [1.0, 0.0, 0.5]
    expected = average_precision([0, 0, 1, 1], [1, 1, 0, 0])
    assert counts_ap(counts).tolist() == [1.0, expected, 0.5]


def test_a_missing_side_is_nan_not_a_number():
    counts = np.array([[[2, 1], [0, 0]], [[0, 0], [2, 1]]])
    assert np.isnan(counts_auroc(counts)).all()
    assert np.isnan(counts_ap(counts)).tolist() == [True, False]
