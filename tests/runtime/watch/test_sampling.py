import numpy as np
import pytest

from zsad.errors import InputError
from zsad.inspection.config import Roi
from zsad.watch.likeness import cells_of
from zsad.watch.sampling import LOOK_S, Sampling


def picture(level, hw=(60, 80)):
    return np.full((*hw, 3), level, np.uint8)


def counted(sampling, levels, gap_s=1.0):
    return [
        sampling.counts(picture(level), None, number * gap_s) for number, level in enumerate(levels)
    ]


def test_each_triggered_frame_is_a_part():
    sampling = Sampling()
    assert [sampling.counts(picture(9), name, 0.0) for name in ("a", "b", "b")] == [True] * 3


@pytest.mark.parametrize("names", ["abcdefghij", "aaaaaaaaaa"])
def test_one_view_of_each_triggered_part_counts_and_any_view_can(names):
    sampling, chosen = Sampling(views=3), set()
    for name in names:
        seen = [sampling.counts(picture(9), name, 0.0) for _ in range(3)]
        assert sum(seen) == 1
        chosen.add(seen.index(True))
    assert chosen == {0, 1, 2}


def test_a_part_whose_views_did_not_all_come_takes_none_from_the_next():
    sampling = Sampling(views=3)
    for number in range(20):
        sampling.counts(picture(9), f"short {number}", 0.0)
        assert sum(sampling.counts(picture(9), f"whole {number}", 0.0) for _ in range(3)) == 1


def test_a_frame_counts_where_it_shows_another_part_than_the_last_that_counted():
    assert counted(Sampling(), [50, 50, 80, 81, 50]) == [True, False, True, False, True]


def test_a_change_that_creeps_is_seen():
    # Each frame is two grey levels brighter than the one before, and 3 are flicker of the light.
    assert counted(Sampling(), range(50, 66, 2)) == [True, False] * 4


def test_a_frame_of_another_size_counts():
    sampling = Sampling()
    sizes = enumerate([(1, 1), (9, 9), (60, 80), (60, 80)])
    seen = [sampling.counts(picture(9, hw), None, float(at)) for at, hw in sizes]
    assert seen == [True, True, True, False]


def test_a_free_running_camera_is_looked_at_now_and_then():
    levels = [50 + 20 * (n % 2) for n in range(9)]
    seen = counted(Sampling(), levels, gap_s=LOOK_S / 3 + 1e-6)
    assert seen == [True, False, False] * 3


def test_a_part_that_passes_counts_once_in_its_time_whatever_it_looks_like():
    assert counted(Sampling(part_s=2.0), [50, 90, 50, 50, 50]) == [True, False, True, False, True]


def test_what_lies_outside_the_region_makes_no_other_part():
    corner = Roi((((0.0, 0.0), (0.4, 0.0), (0.4, 0.4), (0.0, 0.4)),))
    other = picture(50)
    other[40:, 50:] = 200
    for roi, is_another in ((None, True), (corner, False)):
        sampling = Sampling(region=cells_of(roi))
        assert sampling.counts(picture(50), None, 0.0)
        assert sampling.counts(other, None, 1.0) is is_another


def test_a_frame_that_is_a_view_of_another_can_be_looked_at():
    assert Sampling().counts(picture(50)[::-1, ::-1], None, 0.0)


def test_what_is_no_image_is_one_line():
    with pytest.raises(InputError):
        Sampling().counts(np.zeros((4, 4), np.uint8), None, 0.0)
