"""Folders as strangers have them: what is read, and what is refused because it nearly fits."""

import cv2
import numpy as np
import pytest
from PIL import Image

from zsad.data import open_dataset
from zsad.errors import InputError


@pytest.fixture
def parts(tmp_path):
    """Return `write(name, mask=False)` below a folder of two good and two cracked parts."""
    root = tmp_path / "parts"

    def write(name, mask=False):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 9), 90, np.uint8)
        if mask:
            pixels[:] = 0
            pixels[2:4, 3:6] = 255
        # Encoded by the suffix in small letters, as OpenCV knows no others.
        done, content = cv2.imencode(path.suffix.lower(), pixels)
        assert done
        path.write_bytes(content.tobytes())
        return path

    for kind in ("good", "crack"):
        for index in range(2):
            write(f"{kind}/{index}.png")
    return write


@pytest.fixture
def spec(tmp_path):
    return f"folder:{tmp_path / 'parts'}"


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".tif", ".TIFF", ".jpg"])
@pytest.mark.parametrize("ending", ["", "_mask"])
def test_masks_may_have_any_suffix_that_images_may_have(parts, spec, suffix, ending):
    for index in range(2):
        parts(f"ground_truth/crack/{index}{ending}{suffix}", mask=True)
    dataset = open_dataset(spec)
    assert dataset.has_masks
    assert [int(dataset[i].mask.sum()) for i in range(4)] == [6, 6, 0, 0]
    assert dataset[0].mask[2:4, 3:6].all()


def test_a_png_is_the_mask_where_there_are_several(parts, spec):
    for index in range(2):
        parts(f"ground_truth/crack/{index}.bmp")
        parts(f"ground_truth/crack/{index}.png", mask=True)
    assert open_dataset(spec)[0].mask.sum() == 6


@pytest.mark.parametrize("mode", ["1", "P", "RGBA"])
def test_masks_may_be_of_one_bit_have_a_palette_or_alpha(parts, spec, tmp_path, mode):
    for index in range(2):
        path = parts(f"ground_truth/crack/{index}.png")
        mask = Image.new(mode, (9, 8), (0, 0, 0, 255) if mode == "RGBA" else 0)
        if mode == "P":
            mask.putpalette([0, 0, 0, 128, 0, 0])
        mask.putpixel((3, 2), (255, 255, 255, 255) if mode == "RGBA" else 1)
        mask.save(path)
    dataset = open_dataset(spec)
    assert [dataset[i].mask.sum() for i in range(2)] == [1, 1] and dataset[0].mask[2, 3]


def test_odd_names_are_read(parts, tmp_path):
    for name in ("crack/ä b.PNG", "crack/v1.2.JPG", "crack/c.BMP", "crack/d.Tif", "öl fleck/1.png"):
        parts(name)
    moved = (tmp_path / "parts").rename(tmp_path / "téile 1")
    dataset = open_dataset(f"folder:{moved}")
    names = [dataset[i].name for i in range(len(dataset))]
    assert {"crack/ä b", "crack/v1.2", "crack/c", "crack/d", "öl fleck/1"} < set(names)
    assert (len(names), dataset.name) == (9, "folder:téile 1")


def test_the_folder_one_is_in_has_a_name_too(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "parts")
    assert open_dataset("folder:.").name == "folder:parts"


def test_what_systems_leave_behind_is_no_image(parts, spec, tmp_path):
    for name in (".DS_Store", "Thumbs.db", "good/Thumbs.db", "good/._0.png", "desktop.ini"):
        (tmp_path / "parts" / name).write_bytes(b"x")
    for name in ("__MACOSX/good", ".ipynb_checkpoints", "good/folder.png"):
        (tmp_path / "parts" / name).mkdir(parents=True)
    (tmp_path / "parts/__MACOSX/good/._0.png").write_bytes(b"x")
    dataset = open_dataset(spec)
    assert [dataset[i].name for i in range(len(dataset))] == [
        "crack/0", "crack/1", "good/0", "good/1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crack/sub/x.png", r"crack.sub.x\.png lies too deep"),
        ("scratch/a/b/x.png", r"x\.png lies too deep: images are read from .*scratch, not"),
        (
            "crack/0_mask.png",
            "0_mask would be an image, but looks like a mask: move it to .*ground",
        ),
        ("good/0_gt.png", "0_gt would be an image, but looks like a mask"),
        ("masks/0.png", "masks would be a defect type, but looks like masks"),
        ("Ground Truth/crack/0.png", "looks like masks: they belong in .*ground_truth/TYPE"),
        ("crack/0.bmp", r"two images are named 'crack/0', .*0\.bmp and .*0\.png"),
    ],
)
def test_what_would_be_misread_is_refused(parts, spec, name, message):
    parts(name)
    with pytest.raises(InputError, match=message) as caught:
        open_dataset(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["Good", "OK", "normal"])
def test_good_parts_under_another_name_are_not_taken_for_defects(parts, spec, tmp_path, name):
    (tmp_path / "parts/good").rename(tmp_path / "parts/other")
    (tmp_path / "parts/other").rename(tmp_path / "parts" / name)
    with pytest.raises(InputError, match=f"has no good/, but {name}/: rename that to good"):
        open_dataset(spec)


def test_a_tree_of_mvtec_is_told_where_it_belongs(tmp_path):
    for name in ("train/good", "test/crack"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(InputError, match=r"found test, train .*mvtec:PATH reads"):
        open_dataset(f"folder:{tmp_path}")
