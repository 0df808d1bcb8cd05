import json
from collections import Counter

import cv2
import numpy as np
import pytest

from zsad.data import open_dataset
from zsad.data.public import LAYOUTS
from zsad.data.resample import DIVE_TABLE_4, Counts, counts_by_ratio, dive_counts, resample
from zsad.data.subset import NameList, Subset, entries_of, pool
from zsad.errors import InputError


def write(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((4, 5), value, np.uint8))


@pytest.fixture
def mvtec(tmp_path):
    root = tmp_path / "mvtec"
    for kind, factor in (("cup", 1), ("nut", 2)):
        for index in range(10 * factor):
            write(root / kind / "train/good" / f"{index:03d}.png")
        for index in range(5 * factor):
            write(root / kind / "test/good" / f"{index:03d}.png")
            write(root / kind / "test/bent" / f"{index:03d}.png")
            write(root / kind / "ground_truth/bent" / f"{index:03d}_mask.png", 255)
    return root


def names(dataset):
    return [entry.name for entry in entries_of(dataset)]


def test_each_class_gives_its_share_of_each_label(mvtec):
    chosen = resample(open_dataset(f"mvtec:{mvtec}"), Counts(9, 6), seed=3)
    found = Counter((entry.class_name, entry.label) for entry in chosen.entries)
    assert found == {("cup", 0): 3, ("nut", 0): 6, ("cup", 1): 2, ("nut", 1): 4}
    assert sum(chosen.labels) == 6 and len(chosen) == 15
    for index, label in enumerate(chosen.labels):
        sample = chosen[index]
        assert sample.label == label and sample.mask.all() == bool(label)
        assert sample.name == chosen.entries[index].name


def test_the_choice_is_seeded_and_nested(mvtec):
    data = open_dataset(f"mvtec:{mvtec}")
    few, many = (resample(data, Counts(*counts), 1) for counts in ((4, 3), (8, 7)))
    assert set(names(few)) < set(names(many))
    assert names(few) == names(resample(data, Counts(4, 3), 1))
    assert len({tuple(names(resample(data, Counts(4, 3), seed))) for seed in range(5)}) == 5


def test_any_data_set_can_be_resampled():
    data = open_dataset("synthetic", split="val", limit=12, size=64)
    chosen = resample(data, Counts(3, 1), seed=0)
    assert Counter(chosen.labels) == {0: 3, 1: 1} and chosen.has_masks
    again = resample(chosen, Counts(2, 1), seed=0)
    assert len(again) == 3 and set(names(again)) <= set(names(data))
    assert set(again.classes) == {again[index].class_name for index in range(3)}
    with pytest.raises(IndexError):
        again[3]


@pytest.mark.parametrize(
    ("counts", "seed", "error"),
    [
        ((16, 0), 0, "has 15 normal and 15 anomalous samples, 16 normal and 0 anomalous are"),
        ((0, 16), 0, "0 normal and 16 anomalous are to be kept"),
        ((0, 0), 0, "cannot keep 0 normal and 0 anomalous"),
        ((-1, 2), 0, "cannot keep -1 normal"),
        ((1, 1), 2**32, "seed 4294967296 cannot be used"),
        ((1, 1), -1, "seed -1 cannot be used"),
    ],
)
def test_what_cannot_be_kept_is_named(mvtec, counts, seed, error):
    with pytest.raises(InputError, match=error) as caught:
        resample(open_dataset(f"mvtec:{mvtec}"), Counts(*counts), seed)
    assert "\n" not in str(caught.value)


def test_a_ratio_gives_dives_small_counts(mvtec):
    data = open_dataset(f"mvtec:{mvtec}")
    assert counts_by_ratio(data, "0.1") == Counts(15, 2)
    assert counts_by_ratio(data, "0.2") == Counts(15, 3)
    for bad in ("0", "-1", "x", "nan", "1/0"):
        with pytest.raises(InputError, match="is not a number above 0"):
            counts_by_ratio(data, bad)


def test_dives_table_names_sets_that_can_be_opened():
    assert set(DIVE_TABLE_4) <= {*LAYOUTS, "visa"}
    assert dive_counts("mvtec", "train") == (Counts(4096, 423), ("train", "test"))
    assert dive_counts("br35h", "test") == (Counts(1500, 150), ("test",))


@pytest.mark.parametrize(
    ("name", "split", "error"),
    [
        ("kvasir", "test", "has no 'kvasir': it has mvtec, dtd, visa"),
        ("visa", "train", "no split 'train' of 'visa': use test, or train for mvtec, dtd"),
        ("mvtec", "val", "no split 'val' of 'mvtec'"),
    ],
)
def test_what_dives_table_does_not_have_is_named(name, split, error):
    with pytest.raises(InputError, match=error):
        dive_counts(name, split)


def test_splits_are_pooled(mvtec):
    parts = [open_dataset(f"mvtec:{mvtec}", split=split) for split in ("train", "test")]
    whole = pool(parts)
    assert len(whole) == 60 and whole.has_masks
    assert len(set(names(whole))) == 60
    synthetic = open_dataset("synthetic", limit=2)
    assert pool([synthetic]) is synthetic
    with pytest.raises(InputError, match="only splits of image files can be pooled"):
        pool([synthetic, synthetic])


def make_list(mvtec, path, **changes):
    whole = pool([open_dataset(f"mvtec:{mvtec}", split=split) for split in ("train", "test")])
    chosen = resample(whole, Counts(20, 4), seed=5)
    fields = {
        "data": "mvtec", "split": "test", "pooled": ("train", "test"), "seed": 5, "rule": "given",
        "samples": tuple(names(chosen)),
    }  # fmt: skip
    NameList(**{**fields, **changes}).write(path)
    return chosen


def test_a_saved_list_is_the_same_part_again(mvtec, tmp_path):
    path = tmp_path / "part.json"
    chosen = make_list(mvtec, path)
    again = open_dataset(f"list:{path}:mvtec:{mvtec}")
    assert isinstance(again, Subset) and again.entries == chosen.entries
    assert again.name == chosen.name == "mvtec-20+4-seed5" and again.has_masks
    assert again[0].name == chosen[0].name
    # A later seed draws from the list, it does not draw another list.
    assert names(open_dataset(f"list:{path}:mvtec:{mvtec}", seed=9)) == names(again)
    few = open_dataset(f"list:{path}:mvtec:{mvtec}", limit=6, seed=2)
    assert set(names(few)) < set(names(again)) and Counter(few.labels) == {0: 5, 1: 1}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"split": "train"}, "is of split 'train', not of 'test'"),
        ({"data": "mpdd"}, "the list is of 'mpdd', the data set is 'mvtec'"),
        ({"samples": ("a", "a")}, "names a twice"),
        ({"samples": ("b", "a")}, "names a, which 'mvtec' has not; 2 of its 2 names"),
        ({"pooled": ("train",)}, "names cup/test/.* are missing there"),
    ],
)
def test_a_list_that_does_not_fit_is_named(mvtec, tmp_path, changes, error):
    path = tmp_path / "part.json"
    make_list(mvtec, path, **changes)
    with pytest.raises(InputError, match=error) as caught:
        open_dataset(f"list:{path}:mvtec:{mvtec}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: data.update(schema=2), "is not a list of samples of schema 1"),
        (lambda data: data.pop("samples"), "must have data, split, pooled"),
        (lambda data: data.update(samples=[1]), "must have data, split, pooled"),
        (lambda data: data.update(samples=[]), "must have data, split, pooled"),
        (lambda data: data.update(seed=True), "must have data, split, pooled"),
        (lambda data: data.update(more=1), "must have data, split, pooled"),
    ],
)
def test_an_edited_list_is_refused(mvtec, tmp_path, change, error):
    path = tmp_path / "part.json"
    make_list(mvtec, path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=error):
        open_dataset(f"list:{path}:mvtec:{mvtec}")


@pytest.mark.parametrize("spec", ["list:", "list:part.json", "list:part.json:", "list::mvtec:x"])
def test_a_list_without_its_data_set_is_named(spec):
    with pytest.raises(InputError, match="use list:FILE:SPEC"):
        open_dataset(spec)


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_file_that_is_no_list_is_named(tmp_path, text):
    path = tmp_path / "part.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=r"part\.json (cannot be read|is not a list of samples)"):
        open_dataset(f"list:{path}:synthetic")
