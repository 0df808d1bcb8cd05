import cv2
import numpy as np
import pytest

from zsad.errors import InputError
from zsad.preprocess import PreprocessSpec
from zsad_calibration.int8.frames import calibration_images

SPEC = PreprocessSpec(8, 10)


@pytest.fixture
def folder(tmp_path):
    for level in range(5):
        cv2.imwrite(str(tmp_path / f"p{level}.png"), np.full((20, 30, 3), 10 * level, np.uint8))
    return tmp_path


def levels(images):
    return sorted(int(image[0, 0, 0]) for image in images)


def test_a_folder_gives_all_it_has_at_the_models_size(folder):
    images = calibration_images(str(folder), 32, SPEC)
    assert [image.shape for image in images] == [(8, 10, 3)] * 5
    assert levels(images) == [0, 10, 20, 30, 40]


def test_fewer_are_always_the_same_choice(folder):
    first, again = (calibration_images(str(folder), 2, SPEC) for _ in range(2))
    assert levels(first) == levels(again) and len(set(levels(first))) == 2


def test_without_a_source_frames_are_generated_from_the_training_classes():
    images = calibration_images(None, 3, SPEC)
    assert len(images) == 3 and all(image.std() > 1 for image in images)


def test_a_data_set_can_be_named(folder, tmp_path):
    (tmp_path / "good").mkdir()
    cv2.imwrite(str(tmp_path / "good" / "a.png"), np.full((9, 9, 3), 77, np.uint8))
    assert levels(calibration_images(f"folder:{tmp_path}", 4, SPEC)) == [77]


@pytest.mark.parametrize("source", ["nowhere", "sinthetic"])
def test_what_cannot_be_opened_is_refused(source):
    with pytest.raises(InputError, match=source):
        calibration_images(source, 4, SPEC)


@pytest.mark.parametrize("source", ["photos/good", "/not/there"])
def test_a_folder_that_is_not_there_is_said_to_be_none(source):
    with pytest.raises(InputError, match=f"^{source} is no folder: name one of images"):
        calibration_images(source, 4, SPEC)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no image"):
        calibration_images(str(tmp_path), 4, SPEC)


def test_a_corrupt_image_is_named(folder):
    (folder / "p9.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(InputError, match=r"p9\.png"):
        calibration_images(str(folder), 32, SPEC)
