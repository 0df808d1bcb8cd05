import cv2
import numpy as np
import pytest

from zsad.data import open_dataset
from zsad.errors import InputError
from zsad_calibration.good_frames import GoodFrame, UniqueFrames, good_frames


def grey(level, size=(6, 9)):
    return np.full((*size, 3), level, np.uint8)


def frames(*levels):
    return iter([GoodFrame(f"part{i}", grey(level)) for i, level in enumerate(levels)])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "crack").mkdir()
    for level in range(5):
        cv2.imwrite(str(tmp_path / "good" / f"p{level}.png"), grey(40 + level))
    cv2.imwrite(str(tmp_path / "crack" / "c0.png"), grey(200))
    return tmp_path


def test_a_repeated_picture_is_passed_once_but_its_name_is_kept():
    unique = UniqueFrames(frames(10, 20, 10, 30, 20))
    assert [frame.name for frame in unique] == ["part0", "part1", "part3"]
    assert unique.names == ["part0", "part1", "part2", "part3", "part4"]


def test_the_same_bytes_in_another_shape_are_another_picture():
    pair = iter([GoodFrame("wide", grey(1, (2, 8))), GoodFrame("high", grey(1, (8, 2)))])
    assert len(list(UniqueFrames(pair))) == 2


def test_a_limit_counts_distinct_pictures_and_stops_reading():
    unique = UniqueFrames(frames(10, 10, 20, 30), limit=2)
    assert [frame.name for frame in unique] == ["part0", "part2"]
    assert unique.names == ["part0", "part1", "part2"]


def test_a_limit_of_nothing_is_an_error():
    with pytest.raises(InputError, match="--limit 0"):
        UniqueFrames(frames(1), limit=0)


def test_a_folder_and_its_data_set_give_the_same_good_frames(folder):
    direct = list(good_frames(str(folder / "good")))
    through_spec = list(good_frames(f"folder:{folder}"))
    assert [f.frame_bgr[0, 0, 0] for f in direct] == [40, 41, 42, 43, 44]
    assert [f.name for f in direct] == [f.name for f in through_spec]
    dataset = open_dataset(f"folder:{folder}")
    assert {f.name for f in direct} < {dataset[i].name for i in range(len(dataset))}


def test_deep_images_of_a_folder_are_scaled(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((6, 9), 1024, np.uint16))
    (frame,) = good_frames(str(tmp_path), scale_16bit="12")
    assert frame.frame_bgr[0, 0, 0] == 64
    with pytest.raises(InputError, match="is for a folder of good parts"):
        next(good_frames("synthetic", scale_16bit="12"))


def test_a_shuffle_is_seeded(folder):
    def order(seed):
        return [f.name for f in good_frames(str(folder / "good"), seed=seed, shuffle=True)]

    assert order(1) == order(1)
    assert sorted(order(1)) == sorted(order(2)) == [f"good/p{i}" for i in range(5)]
    assert len({tuple(order(seed)) for seed in range(5)}) > 1


def test_a_file_that_is_no_image_stops_the_calibration(folder):
    (folder / "good" / "p9.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"p9\.png"):
        list(good_frames(str(folder / "good")))


def test_an_unknown_source_names_what_was_expected():
    with pytest.raises(InputError, match="nowhere"):
        list(good_frames("nowhere"))
