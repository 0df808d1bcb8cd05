import cv2
import numpy as np
import pytest

from zsad.data import open_dataset
from zsad.errors import InputError


def write(path, value=0, size=(4, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(size, value, np.uint8) if np.isscalar(value) else value
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def dagm(tmp_path):
    for phase, numbers in (("Train", (1, 2)), ("Test", (3, 4))):
        folder = tmp_path / "Class7" / phase
        for number in numbers:
            write(folder / f"{number:04d}.PNG")
        write(folder / "Label" / f"{numbers[1]:04d}_label.PNG", 255)
        (folder / "Label" / "Labels.txt").write_text("1\n")
    return tmp_path


def test_dagm_is_defective_where_there_is_a_mask(dagm):
    dataset = open_dataset(f"dagm:{dagm}")
    good, bad = dataset[0], dataset[1]
    assert (good.name, good.label, bad.name, bad.label) == (
        "Class7/Test/0003", 0, "Class7/Test/0004", 1,
    )  # fmt: skip
    assert bad.mask.all() and not good.mask.any() and bad.defect_type == "defect"
    assert dataset.classes == ("Class7",)
    train = open_dataset(f"dagm:{dagm}", split="train")
    assert [item.sample_name for item in train.items] == ["Class7/Train/0001", "Class7/Train/0002"]


def test_dagm_without_its_masks_is_not_a_set_without_defects(dagm):
    (dagm / "Class7/Test/Label/0004_label.PNG").unlink()
    with pytest.raises(
        InputError, match=r"expected masks Class7/Test/Label/NAME_label\.PNG, found Labels\.txt"
    ):
        open_dataset(f"dagm:{dagm}")


def test_a_dagm_mask_without_its_image_is_named(dagm):
    write(dagm / "Class7/Test/Label/0009_label.PNG", 255)
    with pytest.raises(InputError, match=r"0009_label\.PNG has no image .*0009\.PNG"):
        open_dataset(f"dagm:{dagm}")


@pytest.mark.parametrize("split", ["test", "val"])
def test_another_tree_is_not_dagm(tmp_path, split):
    write(tmp_path / "some/where/1.png")
    expected = rf"expected images Class1/{split.capitalize()}/\*\.PNG, found some"
    with pytest.raises(InputError, match=expected):
        open_dataset(f"dagm:{tmp_path}", split=split)


@pytest.fixture
def aitex(tmp_path):
    write(tmp_path / "NODefect_images/2306881-210020u/0001_000_04.png")
    for name in ("0044_019_04", "0050_036_02", "0100_025_08"):
        write(tmp_path / f"Defect_images/{name}.png")
    left = np.zeros((4, 5), np.uint8)
    left[:, 0] = 255
    write(tmp_path / "Mask_images/0044_019_04_mask1.png", left)
    write(tmp_path / "Mask_images/0044_019_04_mask2.png", left[:, ::-1])
    write(tmp_path / "Mask_images/0050_036_02_mask.png", 255)
    return tmp_path


def test_aitex_is_read_by_its_names(aitex):
    dataset = open_dataset(f"aitex:{aitex}")
    samples = [dataset[index] for index in range(len(dataset))]
    # 0100_025_08 is defective and comes without a mask: it is left out.
    assert [sample.defect_type for sample in samples] == ["good", "fuzzy ball", "weft crack"]
    assert [int(sample.mask.sum()) for sample in samples] == [0, 8, 20]
    assert dataset.classes == ("fabric",)
    assert samples[0].name == "NODefect_images/2306881-210020u/0001_000_04"


def test_a_new_aitex_code_is_a_type_of_its_own(aitex):
    write(aitex / "Defect_images/0200_099_01.png")
    write(aitex / "Mask_images/0200_099_01_mask.png", 255)
    assert open_dataset(f"aitex:{aitex}").items[-1].defect_type == "type 099"


@pytest.mark.parametrize(
    ("image", "error"),
    [
        ("Defect_images/0201_002_01.png", r"has no mask: expected .*0201_002_01_mask\.png"),
        ("Defect_images/stain.png", r"stain\.png is not named nnnn_ddd_ff\.png"),
    ],
)
def test_an_aitex_image_that_cannot_be_read_is_named(aitex, image, error):
    write(aitex / image)
    with pytest.raises(InputError, match=error):
        open_dataset(f"aitex:{aitex}")


def test_another_tree_is_not_aitex(tmp_path):
    write(tmp_path / "Defect_images/0001_002_01.png")
    with pytest.raises(InputError, match=r"expected images NODefect_images/.*found Defect_images"):
        open_dataset(f"aitex:{tmp_path}")
    with pytest.raises(InputError, match="has no split 'train'"):
        open_dataset(f"aitex:{tmp_path}", split="train")
