import cv2
import numpy as np
import pytest

from zsad.data import open_dataset
from zsad.errors import InputError


def write(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((4, 5), value, np.uint8))


@pytest.mark.parametrize(
    ("name", "normal", "mask"), [("mvtec", "good", "_mask"), ("btad", "ok", "")]
)
def test_industrial_layouts(tmp_path, name, normal, mask):
    write(tmp_path / "metal_nut/train" / normal / "9.png")
    write(tmp_path / "metal_nut/test" / normal / "0.PNG")
    write(tmp_path / "metal_nut/test/bent/1.png")
    write(tmp_path / "metal_nut/test/bent/.hidden.png")
    write(tmp_path / f"metal_nut/ground_truth/bent/1{mask}.png", 255)
    dataset = open_dataset(f"{name}:{tmp_path}")
    assert sorted(dataset.labels) == [0, 1] and dataset.classes == ("metal nut",)
    for index, label in enumerate(dataset.labels):
        assert dataset[index].mask.all() == bool(label)
    assert open_dataset(f"{name}:{tmp_path}", split="train").labels == (0,)


def test_a_missing_mask_is_named(tmp_path):
    write(tmp_path / "images/1.png")
    with pytest.raises(InputError, match=r"1\.png has no mask: expected .*masks/1\.png"):
        open_dataset(f"colondb:{tmp_path}")


def test_a_wrong_layout_says_what_was_found(tmp_path):
    write(tmp_path / "lone.png")
    with pytest.raises(InputError, match=r"expected images \*/test/\*/\*, found lone\.png"):
        open_dataset(f"mvtec:{tmp_path}")


def test_image_level_sets_have_no_masks(tmp_path):
    write(tmp_path / "no/1.jpg")
    write(tmp_path / "yes/2.jpg")
    dataset = open_dataset(f"br35h:{tmp_path}")
    assert dataset.labels == (0, 1) and dataset[1].mask is None
