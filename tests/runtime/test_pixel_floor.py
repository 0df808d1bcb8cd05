import numpy as np
import pytest

from zsad.errors import InputError
from zsad.evaluate.pixel_floor import (
    LEVELS,
    PIXEL_STATISTICS,
    choose_pixel_floor,
    floor_counts,
    floor_map,
    pixel_statistics,
)
from zsad.metrics import aupro, pixel_auroc
from zsad.metrics.pixel_counts import counts_aupro, counts_auroc, total_of


def part_with_dark_spot(seed, background=120, spot=60):
    rng = np.random.default_rng(seed)
    grey = rng.normal(background, 3, (50, 60))
    mask = np.zeros(grey.shape, bool)
    mask[10:18, 30:42] = True
    grey[mask] = rng.normal(spot, 3, mask.sum())
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2), mask


def summed(parts):
    return total_of(np.stack([floor_counts(*part) for part in parts]))


def planes_of(frame):
    return dict(zip(PIXEL_STATISTICS, pixel_statistics(frame), strict=True))


def test_a_flat_frame_has_no_deviation_anywhere():
    planes = planes_of(np.full((30, 40, 3), 77, np.uint8))
    assert (planes.pop("grey") == 77).all()
    centre = planes.pop("centre")
    assert all(np.allclose(plane, 0, atol=1e-3) for plane in planes.values())
    assert centre[15, 20] > 240 > 1 > centre[0, 0]


def test_distance_from_the_median_and_local_spread_are_worked_by_hand():
    frame = np.full((20, 20, 3), 100, np.uint8)
    frame[10, 10] = 190
    planes = planes_of(frame)
    assert planes["from_median"][10, 10] == 90
    assert planes["colour_from_median"][10, 10] == 90
    # The fine window is 3x3: one pixel of nine is 90 above the rest.
    assert planes["from_surroundings_fine"][10, 10] == pytest.approx(80)
    assert planes["local_spread_fine"][11, 11] == pytest.approx(90 * np.sqrt(8) / 9, rel=1e-4)
    assert planes["local_spread_fine"][13, 13] == pytest.approx(0, abs=1e-2)


def test_statistics_fit_into_their_levels():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    values = pixel_statistics(noise)
    assert values.shape == (len(PIXEL_STATISTICS), 64, 64)
    assert values.min() >= 0
    assert values.max() < LEVELS / 2


def test_the_choice_equals_the_exact_metric_of_what_was_counted():
    parts = [part_with_dark_spot(seed, spot=117) for seed in range(3)]
    floor = choose_pixel_floor([summed(parts)])
    sign, name = floor.name.split()
    planes = np.stack([planes_of(frame)[name] for frame, _ in parts])
    levels = np.floor(2 * planes) * (1 if sign == "+" else -1)
    exact = pixel_auroc(levels, np.stack([mask for _, mask in parts]))
    total = summed(parts)[floor.statistic, :, :: floor.sign]
    assert counts_auroc(total) == pytest.approx(exact, abs=1e-12)
    region = aupro(levels, np.stack([mask for _, mask in parts]))
    assert counts_aupro(total) == pytest.approx(region, abs=1e-6)
    assert 0.6 < exact < 0.95


def test_the_sign_is_chosen_too():
    # Spots are dark on a background that is itself random, so only the grey level tells.
    rng = np.random.default_rng(0)
    mask = rng.random((40, 40)) < 0.5
    grey = np.where(mask, 20, 60 + 120 * (rng.random((40, 40)) < 0.5))
    frame = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    assert choose_pixel_floor([floor_counts(frame, mask)]).name == "- grey"


def test_the_floors_map_is_what_was_counted():
    parts = [part_with_dark_spot(seed) for seed in range(2)]
    floor = choose_pixel_floor([summed(parts)])
    maps, counts = map(np.stack, zip(*(floor_map(*part, floor) for part in parts), strict=True))
    masks = np.stack([mask for _, mask in parts])
    assert pixel_auroc(maps, masks) == counts_auroc(total_of(counts))
    assert (total_of(counts) == summed(parts)[floor.statistic, :, :: floor.sign]).all()


def test_no_class_with_masks_is_an_error():
    with pytest.raises(InputError, match="anomalous pixels"):
        choose_pixel_floor([])
