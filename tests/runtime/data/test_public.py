import cv2
import numpy as np
import pytest

from zsad.data import open_dataset
from zsad.data.public import LAYOUTS
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
    every = open_dataset(f"{name}:{tmp_path}", split="all")
    assert sorted(every.labels) == [0, 0, 1] and every.has_masks


def test_a_missing_mask_is_named(tmp_path):
    write(tmp_path / "images/1.png")
    with pytest.raises(InputError, match=r"1\.png has no mask: expected .*masks/1\.png"):
        open_dataset(f"colondb:{tmp_path}")


def test_a_wrong_layout_says_what_was_found(tmp_path):
    write(tmp_path / "lone.png")
    with pytest.raises(InputError, match=r"expected images \*/test/\*/\*, found lone\.png"):
        open_dataset(f"mvtec:{tmp_path}")


def test_a_folder_that_is_not_there_or_empty_says_so(tmp_path):
    with pytest.raises(InputError, match=r"expected images no/\* and yes/\*, found nothing"):
        open_dataset(f"br35h:{tmp_path}")
    with pytest.raises(InputError, match="found no such folder"):
        open_dataset(f"br35h:{tmp_path / 'none'}")


def test_image_level_sets_have_no_masks(tmp_path):
    write(tmp_path / "no/1.jpg")
    write(tmp_path / "yes/2.jpg")
    dataset = open_dataset(f"br35h:{tmp_path}")
    assert dataset.labels == (0, 1) and dataset[1].mask is None


TREES = {
    "mvtec": ("cup/test/good/0.png", "cup/test/bent/0.png", "cup/ground_truth/bent/0_mask.png"),
    "mpdd": ("tube/test/good/0.png", "tube/test/bent/0.png", "tube/ground_truth/bent/0_mask.png"),
    "dtd": ("Mesh/test/good/0.png", "Mesh/test/bad/0.png", "Mesh/ground_truth/bad/0_mask.png"),
    "sdd": ("SDD/test/good/0.png", "SDD/test/defect/0.png", "SDD/ground_truth/defect/0.png"),
    "btad": ("01/test/ok/0.png", "01/test/ko/0.png", "01/ground_truth/ko/0.png"),
    "headct": ("brain/test/good/0.png", "brain/test/bad/0.png", None),
    "br35h": ("no/0.png", "yes/0.png", None),
    "brainmri": ("brain_tumor_dataset/no/0.png", "brain_tumor_dataset/yes/0.png", None),
    "lag": ("non_glaucoma/image/0.png", "suspicious_glaucoma/image/0.png", None),
    "isic": (
        None,
        "ISBI2016_ISIC_Part1_Test_Data/ISIC_0.png",
        "ISBI2016_ISIC_Part1_Test_GroundTruth/ISIC_0_Segmentation.png",
    ),
    "colondb": (None, "images/0.png", "masks/0.png"),
    "clinicdb": (None, "images/0.png", "masks/0.png"),
    "kvasir": (None, "images/0.png", "masks/0.png"),
    "endo": (None, "images/0.png", "masks/0.png"),
    "tn3k": (None, "test-image/0.png", "test-mask/0.png"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_row_finds_its_images_and_masks(tmp_path, name):
    good, bad, mask = TREES[name]
    for path, value in ((good, 0), (bad, 0), (mask, 255)):
        if path is not None:
            write(tmp_path / path, value)
    dataset = open_dataset(f"{name}:{tmp_path}")
    samples = [dataset[index] for index in range(len(dataset))]
    assert sorted(sample.label for sample in samples) == ([0, 1] if good else [1])
    anomalous = next(sample for sample in samples if sample.label)
    assert anomalous.name == bad.removesuffix(".png")
    assert anomalous.defect_type not in ("images", "image", "test-image", "yes", "good")
    assert dataset.has_masks == (mask is not None)
    if mask is not None:
        assert anomalous.mask.all()


def test_names_are_unique_across_classes(tmp_path):
    for cup in ("cup", "plate"):
        write(tmp_path / cup / "test/good/000.png")
    dataset = open_dataset(f"mvtec:{tmp_path}")
    assert [dataset[i].name for i in range(2)] == ["cup/test/good/000", "plate/test/good/000"]


def test_other_folders_beside_yes_and_no_are_left_out(tmp_path):
    for folder in ("no", "yes", "pred"):
        write(tmp_path / folder / "1.png")
    assert open_dataset(f"br35h:{tmp_path}").labels == (0, 1)


def test_the_noise_of_a_jpeg_mask_is_not_a_defect(tmp_path):
    noisy = np.zeros((16, 24), np.uint8)
    noisy[:, 12:] = 255
    noisy[:, :12] = 9
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "images/1.jpg"), noisy)
    cv2.imwrite(str(tmp_path / "masks/1.jpg"), noisy)
    mask = open_dataset(f"kvasir:{tmp_path}")[0].mask
    assert mask[:, 12:].all() and not mask[:, :12].any()


def test_the_other_layout_of_a_set_is_read_too(tmp_path):
    write(tmp_path / "skin/test/good/ISIC_1.png")
    write(tmp_path / "skin/test/bad/ISIC_2.png")
    # Sorted by name the first mask would be this one: masks go by name.
    masks = "skin/ISBI2016_ISIC_Part1_Test_GroundTruth"
    write(tmp_path / masks / "ISIC_1_Segmentation.png")
    write(tmp_path / masks / "ISIC_2_Segmentation.png", 255)
    dataset = open_dataset(f"isic:{tmp_path}")
    assert dataset.labels == (1, 0) and dataset[0].mask.all() and not dataset[1].mask.any()
    assert dataset.classes == ("skin",)
    write(tmp_path / "cvc/Original/7.tif")
    write(tmp_path / "cvc/Ground Truth/7.tif", 255)
    assert open_dataset(f"clinicdb:{tmp_path / 'cvc'}")[0].mask.all()


def test_every_layout_of_a_set_is_named_when_none_fits(tmp_path):
    write(tmp_path / "photos/1.png")
    with pytest.raises(InputError) as caught:
        open_dataset(f"isic:{tmp_path}")
    assert str(caught.value).endswith(
        "expected images ISBI2016_ISIC_Part1_Test_Data/*, or skin/test/*/*, found photos"
    )


def test_attention_maps_beside_lags_images_are_left_out(tmp_path):
    for folder in ("image", "attention_map"):
        write(tmp_path / "non_glaucoma" / folder / "1.jpg")
    assert open_dataset(f"lag:{tmp_path}").labels == (0,)


def test_all_of_a_set_without_splits_is_its_test_set(tmp_path):
    write(tmp_path / "no/1.jpg")
    write(tmp_path / "yes/2.jpg")
    assert open_dataset(f"br35h:{tmp_path}", split="all").labels == (0, 1)
    with pytest.raises(InputError, match="unknown split 'all'"):
        open_dataset("synthetic", split="all")


def test_a_set_without_splits_says_so(tmp_path):
    with pytest.raises(InputError, match="'kvasir' is a test set and has no split 'train'"):
        open_dataset(f"kvasir:{tmp_path}", split="train")
