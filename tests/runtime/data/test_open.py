from collections import Counter

import cv2
import numpy as np
import pytest

from zsad.data import open_dataset
from zsad.errors import InputError


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def parts(tmp_path):
    root = tmp_path / "small_parts"
    for name in ("b", "a"):
        write(root / "good" / f"{name}.png", np.full((6, 8, 3), (10, 20, 30), np.uint8))
    write(root / "dent" / "x.png", np.full((6, 8), 7, np.uint8))
    mask = np.zeros((6, 8), np.uint8)
    mask[2, 3] = 255
    write(root / "ground_truth" / "dent" / "x.png", mask)
    return root


def test_generated_data_by_spec():
    dataset = open_dataset("synthetic", split="val", limit=6, seed=4, size=64)
    assert len(dataset) == 6 and dataset.has_masks
    assert dataset[0].image_bgr.shape == (64, 64, 3)
    assert dataset[5].name == "synthetic/val/4/000005"
    assert open_dataset("synthetic-texture").name == "synthetic-texture/test"
    assert open_dataset("synthetic", split="pretrain").name == "synthetic/pretrain"


def test_a_folder_with_masks(parts):
    dataset = open_dataset(f"folder:{parts}")
    samples = [dataset[i] for i in range(len(dataset))]
    assert [s.name for s in samples] == ["dent/x", "good/a", "good/b"]
    assert [s.label for s in samples] == [1, 0, 0]
    assert [s.defect_type for s in samples] == ["dent", "good", "good"]
    assert dataset.classes == ("small parts",) and dataset.has_masks
    assert samples[0].mask.sum() == 1 and samples[0].mask[2, 3]
    assert not samples[1].mask.any()
    assert samples[1].image_bgr[0, 0].tolist() == [10, 20, 30]
    assert samples[0].image_bgr[0, 0].tolist() == [7, 7, 7]


def test_a_folder_without_masks(parts):
    (parts / "ground_truth" / "dent" / "x.png").unlink()
    (parts / "ground_truth" / "dent").rmdir()
    (parts / "ground_truth").rmdir()
    dataset = open_dataset(f"folder:{parts}")
    assert not dataset.has_masks and dataset[0].mask is None


def test_masks_may_carry_mvtec_names(parts):
    masks = parts / "ground_truth" / "dent"
    (masks / "x.png").rename(masks / "x_mask.png")
    assert open_dataset(f"folder:{parts}")[0].mask.any()


def test_a_defect_without_its_mask_is_named(parts):
    write(parts / "dent" / "y.png", np.zeros((6, 8), np.uint8))
    with pytest.raises(InputError, match=r"1 defective images have no mask.*y\.png"):
        open_dataset(f"folder:{parts}")


def test_a_mask_of_another_size_is_named(parts):
    write(parts / "ground_truth" / "dent" / "x.png", np.zeros((6, 9), np.uint8))
    with pytest.raises(InputError, match="9x6 px, its image 8x6 px"):
        open_dataset(f"folder:{parts}")[0]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nonsense", "unknown data set 'nonsense': expected one of synthetic"),
        ("folder:", "unknown data set 'folder:'"),
        ("folder:/not/there", "does not exist: expected good/"),
    ],
)
def test_unknown_specs_say_what_was_expected(spec, words):
    with pytest.raises(InputError, match=words):
        open_dataset(spec)


def test_a_folder_by_its_bare_name_says_how_to_name_it(parts):
    with pytest.raises(InputError, match=f"for a folder of images use folder:{parts}$"):
        open_dataset(str(parts))


def test_a_flat_folder_says_what_was_found(tmp_path):
    write(tmp_path / "lone.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match=r"holds no image folders.*found lone\.png"):
        open_dataset(f"folder:{tmp_path}")


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_that_leaves_nothing_is_refused(limit):
    with pytest.raises(InputError, match="leaves nothing"):
        open_dataset("synthetic", limit=limit)


def test_a_limit_keeps_the_share_of_defects(tmp_path):
    for index in range(40):
        kind = "bad" if index % 4 == 0 else "good"
        write(tmp_path / kind / f"{index:02d}.png", np.zeros((4, 4), np.uint8))
    dataset = open_dataset(f"folder:{tmp_path}", limit=8, seed=1)
    assert Counter(dataset.labels) == {0: 6, 1: 2}
    names = [item.path.name for item in dataset.items]
    again = open_dataset(f"folder:{tmp_path}", limit=8, seed=1)
    other = open_dataset(f"folder:{tmp_path}", limit=8, seed=2)
    assert names == [item.path.name for item in again.items]
    assert names != [item.path.name for item in other.items]


def test_a_limit_gives_each_class_its_share(tmp_path):
    rows = {"cup": (30, 6), "nut": (20, 12), "peg": (10, 2)}
    for kind, (n_good, n_bad) in rows.items():
        for index in range(n_good + n_bad):
            folder = "good" if index < n_good else "bent"
            write(
                tmp_path / kind / "test" / folder / f"{index:02d}.png", np.zeros((4, 4), np.uint8)
            )
    for path in tmp_path.glob("*/test/bent/*.png"):
        write(path.parents[2] / "ground_truth/bent" / path.name, np.ones((4, 4), np.uint8))
    for seed in range(5):
        dataset = open_dataset(f"mvtec:{tmp_path}", limit=40, seed=seed)
        found = Counter((item.class_name, item.label) for item in dataset.items)
        for kind, counts in rows.items():
            for label in (0, 1):
                assert abs(found[kind, label] - counts[label] / 2) < 1, (seed, kind, label)
    # A limit below the number of classes does not always leave the same ones.
    few = [open_dataset(f"mvtec:{tmp_path}", limit=2, seed=seed).classes for seed in range(40)]
    assert {kind for classes in few for kind in classes} == set(rows)


def test_images_are_read_as_the_runtime_reads_them(tmp_path):
    write(tmp_path / "good" / "alpha.png", np.full((3, 3, 4), (1, 2, 3, 4), np.uint8))
    write(tmp_path / "bad" / "deep.png", np.full((3, 3), 40000, np.uint16))
    dataset = open_dataset(f"folder:{tmp_path}")
    samples = {item.path.name: index for index, item in enumerate(dataset.items)}
    assert dataset[samples["alpha.png"]].image_bgr[0, 0].tolist() == [1, 2, 3]
    with pytest.raises(InputError, match=r"deep\.png"):
        dataset[samples["deep.png"]]


def test_region_numbers_of_a_deep_mask_are_kept(tmp_path):
    write(tmp_path / "good" / "a.png", np.zeros((2, 2), np.uint8))
    write(tmp_path / "crack" / "b.png", np.zeros((2, 2), np.uint8))
    write(tmp_path / "ground_truth" / "crack" / "b.png", np.array([[0, 1], [0, 7]], np.uint16))
    dataset = open_dataset(f"folder:{tmp_path}")
    masks = [dataset[i].mask.tolist() for i in range(2) if dataset.labels[i]]
    assert masks == [[[False, True], [False, True]]]
