import numpy as np
import pytest
from scipy import ndimage

from zsad.errors import InputError
from zsad.metrics import aupro, pro_curve, rcpro, rcpro_curve
from zsad.metrics.regions import even_thresholds, levels_above

EIGHT = np.ones((3, 3))


def area(y, x):
    return (np.diff(x) * (np.array(y)[1:] + np.array(y)[:-1])).sum() / 2


def plain_quality(region, labels, sizes):
    overlaps = np.bincount(labels[region], minlength=len(sizes) + 1)[1:]
    if not overlaps.any():
        return 0.0
    best = overlaps.argmax()
    if overlaps[best] < 0.05 * sizes[best]:
        return 0.0
    excess = (region.sum() - overlaps[best]) / sizes[best]
    return 1.0 if excess <= 2 else 2 / excess


def plain_curve(maps, masks, count=200):
    truth = [ndimage.label(m, EIGHT) for m in masks]
    sizes = [np.bincount(labels.ravel())[1:] for labels, _ in truth]
    x, y = [], []
    for threshold in np.linspace(maps.min(), maps.max(), count, endpoint=False)[::-1]:
        called = maps > threshold
        x.append(
            np.mean(
                [
                    c[labels == k + 1].mean()
                    for c, (labels, n) in zip(called, truth, strict=True)
                    for k in range(n)
                ]
            )
        )
        qualities = []
        for c, (labels, _), s in zip(called, truth, sizes, strict=True):
            found, n = ndimage.label(c, EIGHT)
            qualities += [plain_quality(found == k + 1, labels, s) for k in range(n)]
        y.append(np.mean(qualities))
    return np.array([0, *x]), np.array([y[0], *y])


def random_case(seed, tied):
    rng = np.random.default_rng(seed)
    maps = ndimage.gaussian_filter(rng.random((4, 24, 30)), (0, 1.5, 1.5)).astype(np.float32)
    masks = ndimage.gaussian_filter(rng.random((4, 24, 30)), (0, 2, 2)) > 0.54
    masks[1] = False
    maps[masks] += 0.02
    return (np.round(maps, 2) if tied else maps), masks


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tied", [False, True])
def test_curve_equals_the_plain_form(seed, tied):
    maps, masks = random_case(seed, tied)
    curve = rcpro_curve(maps, masks, thresholds=60)
    x, y = plain_curve(maps, masks, 60)
    np.testing.assert_allclose(curve.x, x, atol=1e-9)
    np.testing.assert_allclose(curve.y, y, atol=1e-9)
    assert rcpro(maps, masks, thresholds=60) == pytest.approx(area(y, x), abs=1e-9)


@pytest.mark.parametrize(
    ("defect", "covered", "outside", "quality"),
    [(100, 100, 0, 1), (100, 100, 200, 1), (100, 100, 400, 0.5), (100, 4, 0, 0), (100, 5, 0, 1)],
)
def test_quality_of_one_region_by_hand(defect, covered, outside, quality):
    maps, masks = np.zeros((1, 1, 600), np.float32), np.zeros((1, 1, 600), bool)
    masks[..., :defect] = True
    maps[..., defect - covered : defect + outside] = 1
    curve = rcpro_curve(maps, masks)
    assert curve.y == pytest.approx(quality)


def test_a_blob_in_a_normal_image_halves_the_quality():
    maps, masks = np.zeros((2, 9, 9), np.float32), np.zeros((2, 9, 9), bool)
    masks[0, 2:4, 2:4] = True
    maps[0, 2:4, 2:4] = maps[1, 5, 5] = 1
    assert rcpro(maps, masks) == pytest.approx(0.5)
    assert rcpro(maps[:1], masks[:1]) == pytest.approx(1)


def plain_aupro(maps, masks, limit):
    truth = [ndimage.label(m, EIGHT) for m in masks]
    x, y = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        called = maps >= threshold
        x.append(called[~masks].mean())
        y.append(
            np.mean(
                [
                    c[labels == k + 1].mean()
                    for c, (labels, n) in zip(called, truth, strict=True)
                    for k in range(n)
                ]
            )
        )
    x, y = np.array(x), np.array(y)
    end = np.searchsorted(x, limit, side="right")
    share = (limit - x[end - 1]) / (x[end] - x[end - 1])
    last = y[end - 1] + share * (y[end] - y[end - 1])
    return area([*y[:end], last], [*x[:end], limit]) / limit


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tied", [False, True])
def test_exact_aupro_equals_the_plain_form_and_its_curve(seed, tied):
    maps, masks = random_case(seed, tied)
    expected = plain_aupro(maps, masks, 0.3)
    assert aupro(maps, masks) == pytest.approx(expected, abs=1e-9)
    assert pro_curve(maps, masks).area(0.3) / 0.3 == pytest.approx(expected, abs=1e-9)
    if not tied:  # a handful of distinct scores leaves the sampled form few points below the limit
        assert aupro(maps, masks, thresholds=5000) == pytest.approx(expected, abs=0.02)


def family_aupro(maps, masks, limit=0.3, count=200):
    """The family's AUPRO, written from notes/dive.md section 11 alone.

    Evenly spaced thresholds from the lowest score up to below the highest; a pixel strictly above
    is called. Rates strictly below the limit are kept, without a point at it, and stretched.
    """
    regions = []
    for image, mask in enumerate(masks):
        labels, n = ndimage.label(mask, EIGHT)
        regions += [(image, labels == k) for k in range(1, n + 1)]
    low, high = float(maps.min()), float(maps.max())
    rates, overlaps = [], []
    for step in range(count):
        called = maps.astype(np.float64) > low + step * (high - low) / count
        false_positives = sum((c & ~m).sum() for c, m in zip(called, masks, strict=True))
        rates.append(false_positives / (~masks).sum())
        overlaps.append(np.mean([called[i][region].mean() for i, region in regions]))
    kept = [(x, y) for x, y in zip(rates, overlaps, strict=True) if x < limit][::-1]
    first, last = kept[0][0], kept[-1][0]
    return area([y for _, y in kept], [(x - first) / (last - first) for x, _ in kept])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [0.3, 0.1])
def test_the_familys_aupro_equals_its_plain_form(seed, limit):
    maps, masks = random_case(seed, False)
    found = aupro(maps, masks, limit, thresholds=200)
    assert found == pytest.approx(family_aupro(maps, masks, limit), abs=1e-9)
    assert found != pytest.approx(aupro(maps, masks, limit), abs=1e-6), "the two forms differ"


def test_the_familys_aupro_by_hand():
    # Ten normal pixels in steps of 0.1, a region of two pixels at 0.75 and 0.95, thresholds at
    # 0, 0.25, 0.5 and 0.75 of the range 0 to 1. The rates are 9, 7, 4 and 2 tenths.
    scores = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0]
    maps = np.array([[[*scores, 0.75, 0.95]]])
    masks = np.zeros(maps.shape, bool)
    masks[..., 10:] = True
    curve = pro_curve(maps, masks, thresholds=4)
    assert curve.x.tolist() == pytest.approx([0.2, 0.4, 0.7, 0.9])
    assert curve.y.tolist() == pytest.approx([0.5, 1, 1, 1])
    # Below 0.7 strictly remain 0.2 and 0.4, stretched to 0 and 1.
    assert aupro(maps, masks, 0.7, thresholds=4) == pytest.approx(0.75)


def test_levels_count_the_thresholds_strictly_below_even_where_they_crowd():
    for low, high in [(0, 1), (-1e5, -99999), (0, 1e-42), (0.3, 0.3001)]:
        values = np.linspace(low, high, 5000).astype(np.float32)
        thresholds = even_thresholds(values, 200)
        values = np.concatenate([values, thresholds])
        expected = np.searchsorted(thresholds, values, side="left")
        np.testing.assert_array_equal(levels_above(values, thresholds), expected)


@pytest.mark.parametrize("metric", [aupro, rcpro])
def test_what_has_no_figure_is_an_error(metric):
    maps, masks = random_case(0, False)
    with pytest.raises(InputError, match="anomalous pixel"):
        metric(maps, np.zeros_like(masks))
    broken = maps.copy()
    broken[2, 3, 4] = np.nan
    with pytest.raises(InputError, match="NaN"):
        metric(broken, masks)


def test_constant_maps_are_chance_or_an_error():
    maps, masks = random_case(0, False)
    flat = np.ones_like(maps)
    assert aupro(flat, masks) == pytest.approx(0.15)
    for call in (lambda: aupro(flat, masks, thresholds=200), lambda: rcpro(flat, masks)):
        with pytest.raises(InputError, match="constant"):
            call()


def test_all_anomalous_has_no_false_positive_rate():
    maps, masks = random_case(0, False)
    everywhere = np.ones_like(masks)
    with pytest.raises(InputError, match="every pixel is anomalous"):
        aupro(maps, everywhere)
    assert 0 < rcpro(maps, everywhere) <= 1


def binary(*rows):
    grid = np.array([[int(cell) for cell in row] for row in rows])
    return grid == 1, (grid > 0).astype(np.float32)  # 1 found defect, 2 false alarm, 0 nothing


@pytest.mark.parametrize(("pooling", "expected"), [("regions", 2 / 3), ("images", 3 / 4)])
def test_rcpro_pools_over_regions_or_first_within_images(pooling, expected):
    (mask_a, map_a), (mask_b, map_b) = binary("1002", "0000"), binary("1000", "0000")
    maps, masks = np.stack([map_a, map_b]), np.stack([mask_a, mask_b])
    assert rcpro(maps, masks, pooling=pooling) == pytest.approx(expected)


def test_rcpro_of_a_binary_map_lives_from_the_extension_to_the_left():
    mask, anomaly_map = binary("1000", "0000")
    assert rcpro(anomaly_map[None], mask[None]) == pytest.approx(1)
    assert rcpro(anomaly_map[None], mask[None], extend_left=False) == 0


@pytest.mark.parametrize(("connectivity", "expected"), [(8, 1), (4, 0.5)])
def test_a_false_alarm_at_a_corner_is_part_of_the_region_or_one_of_its_own(connectivity, expected):
    mask, anomaly_map = binary("1000", "0200", "0000")
    area = rcpro(anomaly_map[None], mask[None], connectivity=connectivity)
    assert area == pytest.approx(expected)
