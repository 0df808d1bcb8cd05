import numpy as np
import pytest

from zsad.errors import InputError
from zsad.evaluate.floor import (
    IMAGE_STATISTICS,
    LONGEST_SIDE_PX,
    choose_image_floor,
    image_statistics,
)
from zsad.metrics import auroc


def statistics_of(frame):
    return dict(zip(IMAGE_STATISTICS, image_statistics(frame), strict=True))


def grey_frame(grey):
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)


def random_table(seed, rows=40):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, len(IMAGE_STATISTICS))), np.arange(rows) < rows // 2


def column(name):
    return IMAGE_STATISTICS.index(name)


def test_a_flat_frame_has_its_grey_level_and_nothing_else():
    found = statistics_of(grey_frame(np.full((40, 60), 90)))
    levels = ("mean", "dark_percentile", "bright_percentile", "darkest_block", "brightest_block")
    assert {name: found.pop(name) for name in levels} == pytest.approx(dict.fromkeys(levels, 90))
    assert found == pytest.approx(dict.fromkeys(found, 0), abs=1e-4)


def test_two_halves_give_the_statistics_worked_by_hand():
    frame = np.zeros((64, 64), np.uint8)
    frame[:, 32:] = 200
    found = statistics_of(grey_frame(frame))
    assert found["mean"] == pytest.approx(100)
    assert found["spread"] == pytest.approx(100)
    assert found["contrast"] == pytest.approx(100 / 101)
    assert (found["darkest_block"], found["brightest_block"]) == (0, 200)
    assert found["block_spread"] == pytest.approx(100)
    # Sobel/8 of a step of 200 is 100 in two of 64 columns.
    assert found["mean_gradient"] == pytest.approx(200 / 64)
    assert found["steep_gradient"] == pytest.approx(100)
    # The Laplacian is +200 and -200 in one column each.
    assert found["laplacian_variance"] == pytest.approx(2 * 200**2 / 64)


def test_a_grating_has_a_sharper_spectrum_than_noise():
    grating = 128 + 60 * np.sin(np.arange(64) * np.pi / 4)[None, :].repeat(64, axis=0)
    noise = np.random.default_rng(0).normal(128, 40, (64, 64)).clip(0, 255)
    peaks = [statistics_of(grey_frame(image))["fft_peak"] for image in (grating, noise)]
    assert peaks[0] > 10 * peaks[1]


def test_saturation_is_max_minus_min_over_colours():
    frame = np.full((8, 8, 3), (10, 200, 60), np.uint8)
    assert statistics_of(frame)["saturation"] == 190


def test_large_frames_are_measured_at_a_common_size():
    frame = np.zeros((2 * LONGEST_SIDE_PX, 16, 3), np.uint8)
    frame[1::2] = 200
    # Lines one pixel wide vanish in an area average.
    found = statistics_of(frame)
    assert found["mean"] == pytest.approx(100, abs=1)
    assert found["spread"] == pytest.approx(0, abs=1)


def test_a_single_statistic_is_found_with_its_sign():
    values, labels = random_table(0)
    values[:, column("mean")] = -labels.astype(float) + 0.1 * values[:, column("mean")]
    floor = choose_image_floor({"part": (values, labels)})
    assert floor.name == "- mean"
    assert auroc(floor.scores["part"], labels) == 1.0


@pytest.mark.parametrize(
    ("sign", "name"), [(1, "+ spread + fft_peak"), (-1, "- spread + fft_peak")]
)
def test_a_pair_is_found_when_neither_statistic_is_enough(sign, name):
    values, labels = random_table(1, rows=400)
    shared = values[:, column("spread")].copy()
    values[:, column("spread")] = 50 * sign * shared
    values[:, column("fft_peak")] = labels - shared + 0.1 * values[:, column("fft_peak")]
    floor = choose_image_floor({"part": (values, labels)})
    assert floor.name == name
    assert auroc(floor.scores["part"], labels) > 0.85


def test_one_choice_serves_all_groups():
    (first, labels), (second, _) = random_table(2), random_table(3)
    # The mean separates both groups, but in opposite directions: useless as one rule.
    first[:, column("mean")] = labels
    second[:, column("mean")] = ~labels
    for table in (first, second):
        table[:, column("contrast")] = labels
        table[3, column("contrast")] = -1
    floor = choose_image_floor({"a": (first, labels), "b": (second, labels)})
    assert floor.name.startswith("+ contrast")
    assert {c: len(s) for c, s in floor.scores.items()} == {"a": len(labels), "b": len(labels)}


def test_the_floor_is_never_below_chance():
    values, labels = random_table(4, rows=11)
    assert auroc(choose_image_floor({"part": (values, labels)}).scores["part"], labels) >= 0.5


def test_constant_statistics_give_chance():
    labels = np.array([True, False, False])
    floor = choose_image_floor({"part": (np.ones((3, len(IMAGE_STATISTICS))), labels)})
    assert auroc(floor.scores["part"], labels) == 0.5


def test_no_class_with_both_labels_is_an_error():
    with pytest.raises(InputError, match="good and defective"):
        choose_image_floor({})
