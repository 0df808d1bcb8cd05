import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from zsad.data.synthetic import SyntheticDataset
from zsad.data.synthetic.classes import FEW_TYPES, PART_KINDS, classes_of, types_for
from zsad.data.synthetic.dataset import MIN_AREA
from zsad.data.synthetic.defect_table import DEFECT_TYPES, Place
from zsad.data.types import GOOD
from zsad.errors import InputError

SPLITS = ("train", "val", "test")
HELD_OUT = {name for name, kind in DEFECT_TYPES.items() if kind.held_out}


# Split, index, caption, pixels of the mask, mean of each quarter of the image.
PINNED = (
    ("train", 0, "a view of flawless wood", 0, [117.67, 120.94, 118.24, 120.81]),
    (
        "train",
        3,
        "a picture of a metal plate with a small bright chip in the upper half",
        36,
        [79.91, 109.01, 81.5, 81.85],
    ),
    (
        "train",
        8,
        "a view of good brushed metal without defects",
        0,
        [198.69, 176.52, 195.84, 159.01],
    ),
    (
        "train",
        13,
        "a close-up of faulty concrete with dark contamination",
        156,
        [171.38, 162.17, 218.04, 198.28],
    ),
    (
        "train",
        27,
        "an inspection image of terrazzo with contamination",
        206,
        [141.38, 125.62, 105.64, 121.45],
    ),
    ("val", 0, "a close-up of marble without flaws", 0, [157.9, 161.03, 138.31, 162.08]),
    (
        "val",
        1,
        "an inspection image of marble with a dark chip in the upper right",
        111,
        [201.95, 179.28, 213.35, 223.73],
    ),
    ("val", 3, "a close-up of a scratched hex nut", 61, [135.5, 168.08, 131.66, 165.68]),
    ("val", 5, "a picture of carpet with contamination", 56, [47.67, 58.34, 54.19, 54.25]),
    (
        "val",
        6,
        "an inspection image of an intact bottle cap with no damage",
        0,
        [113.34, 120.22, 137.35, 152.13],
    ),
    ("test", 0, "a view of good knitted fabric in good condition", 0, [64.46, 71.02, 51.7, 63.71]),
    ("test", 3, "a photo of a cut gear", 112, [133.14, 122.91, 146.23, 134.44]),
    (
        "test",
        9,
        "an inspection image of a rubber mat with a bump in the upper right",
        57,
        [73.39, 70.31, 70.29, 68.99],
    ),
    ("test", 12, "a close-up of wire mesh without flaws", 0, [108.62, 103.45, 115.72, 111.18]),
    (
        "test",
        15,
        "a close-up of a defective ball bearing with dark contamination in the upper half",
        65,
        [111.3, 123.57, 110.26, 122.94],
    ),
)


def fingerprint(dataset, indices):
    digest = hashlib.sha256()
    for index in indices:
        sample = dataset[index]
        digest.update(sample.image_bgr.tobytes() + sample.mask.tobytes())
        digest.update(f"{sample.caption}{sample.defect_type}{sample.name}".encode())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def test_pairs():
    dataset = SyntheticDataset("test", 130, seed=5)
    return [(index, dataset.pair(index)) for index in range(1, 130, 2)]


@pytest.fixture(scope="module", params=["test", "pretrain"])
def pairs(request, test_pairs):
    if request.param == "test":
        return test_pairs
    dataset = SyntheticDataset("pretrain", 204, seed=5)
    return [(index, dataset.pair(index)) for index in range(1, 204, 2) if index % 102 > 28]


def test_there_are_enough_classes_and_types():
    assert len(PART_KINDS) >= 12
    assert len(DEFECT_TYPES) >= 10
    assert len(HELD_OUT) >= 4


def test_no_class_is_in_two_splits():
    owned = [set(classes_of(split)) for split in SPLITS]
    assert sum(map(len, owned)) == len(set().union(*owned))
    assert all(len(classes) >= 3 for classes in owned)


def test_pretrain_shows_the_train_classes_and_many_of_its_own():
    shown, own = classes_of("pretrain"), set(classes_of("pretrain")) - set(classes_of("train"))
    assert shown[:14] == classes_of("train") and len(own) >= 18
    assert {PART_KINDS[name].is_texture for name in own} == {True, False}
    assert not own & {*classes_of("val"), *classes_of("test")}


@pytest.mark.parametrize(("split", "index", "caption", "area", "quarters"), PINNED)
def test_the_splits_draw_what_they_always_drew(split, index, caption, area, quarters):
    sample = SyntheticDataset(split, 40, seed=2, size=96)[index]
    assert sample.caption == caption
    assert sample.mask.sum() == pytest.approx(area, abs=2)
    means = sample.image_bgr.reshape(2, 48, 2, 48, 3).mean((1, 3, 4)).ravel()
    assert means == pytest.approx(quarters, abs=0.2)  # another build rounds otherwise


@pytest.mark.parametrize("split", ["train", "val", "pretrain"])
def test_held_out_types_are_never_drawn_before_the_test(split):
    for name in classes_of(split):
        assert not HELD_OUT & {kind for group in types_for(name, split) for kind in group}
    drawn = {SyntheticDataset(split, 80)[index].defect_type for index in range(1, 80, 2)}
    assert len(drawn) >= 8
    assert not HELD_OUT & drawn


def test_half_of_the_test_defects_are_of_held_out_types(test_pairs):
    drawn = Counter(pair.defect_type in HELD_OUT for _, pair in test_pairs)
    assert 0.3 < drawn[True] / drawn.total() < 0.7


def test_types_keep_to_their_place():
    for name, kind in PART_KINDS.items():
        for split in (*SPLITS, "pretrain"):
            allowed = set().union(*types_for(name, split))
            places = {DEFECT_TYPES[defect].place for defect in allowed}
            assert (Place.OBJECTS if kind.is_texture else Place.TEXTURES) not in places


def test_labels_and_classes_take_turns():
    dataset = SyntheticDataset("test", 16, size=64)
    samples = [dataset[index] for index in range(16)]
    assert [sample.label for sample in samples] == [0, 1] * 8
    assert Counter(sample.class_name for sample in samples) == dict.fromkeys(dataset.classes, 2)
    for sample in samples:
        assert (sample.defect_type == GOOD) == (sample.label == 0) == (not sample.mask.any())


def test_a_sample_depends_on_seed_split_and_index_alone():
    dataset = SyntheticDataset("train", 40)
    alone = fingerprint(dataset, [7])
    assert fingerprint(SyntheticDataset("train", 9), [3, 7][1:]) == alone
    others = [
        fingerprint(dataset, [9]),
        fingerprint(SyntheticDataset("train", 40, seed=1), [7]),
        fingerprint(SyntheticDataset("train", 40, textures_only=True), [7]),
    ]
    assert alone not in others and len(set(others)) == 3


def test_another_process_draws_the_same():
    code = (
        "import sys; from zsad.data.synthetic import SyntheticDataset as S;"
        "s = S('test', 12, seed=3)[11];"
        "import hashlib; sys.stdout.write(hashlib.sha256(s.image_bgr.tobytes()).hexdigest())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment()
    ).stdout
    here = SyntheticDataset("test", 12, seed=3)[11].image_bgr
    assert found == hashlib.sha256(here.tobytes()).hexdigest()


def _environment():
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_arrays_have_the_promised_form():
    for size in (96, 224):
        sample = SyntheticDataset("val", 2, size=size)[1]
        assert sample.image_bgr.shape == (size, size, 3) and sample.image_bgr.dtype == np.uint8
        assert sample.mask.shape == (size, size) and sample.mask.dtype == np.bool_


def test_every_defect_can_be_seen(pairs):
    for index, pair in pairs:
        change = np.abs(pair.image_bgr.astype(int) - pair.clean_bgr).max(axis=2)
        where = f"sample {index}, {pair.defect_type}"
        assert pair.mask.mean() >= MIN_AREA, where
        assert change[pair.mask].mean() >= 6, where
        assert (change[pair.mask] > 0).mean() >= 0.3, where


def test_what_lies_outside_the_mask_is_untouched(pairs):
    for index, pair in pairs:
        change = np.abs(pair.image_bgr.astype(int) - pair.clean_bgr).max(axis=2)
        near = np.zeros_like(pair.mask)
        for row in range(-5, 6):
            for column in range(-5, 6):
                near |= np.roll(pair.mask, (row, column), (0, 1))
        strong = (change > 25) & ~near
        assert strong.mean() <= 0.1 * pair.mask.mean(), f"sample {index}, {pair.defect_type}"


def test_defects_lie_on_the_part(pairs):
    for index, pair in pairs:
        if pair.defect_type != "thread":
            assert (pair.mask & ~pair.part).mean() < 1e-3, f"sample {index}, {pair.defect_type}"
        assert (pair.mask & pair.part).any()


def test_a_normal_pair_is_one_picture():
    pair = SyntheticDataset("train", 2).pair(0)
    assert np.array_equal(pair.image_bgr, pair.clean_bgr) and not pair.mask.any()


def test_captions_say_what_is_shown():
    dataset = SyntheticDataset("pretrain", 102)
    samples = [dataset[index] for index in range(102)]
    assert all(sample.class_name in sample.caption for sample in samples)
    assert len({sample.caption for sample in samples}) >= 90
    for sample in samples:
        kind = DEFECT_TYPES.get(sample.defect_type)
        if kind:
            words = (kind.phrase.split(" ", 1)[-1], kind.adjective)
            assert any(word in sample.caption for word in words), sample.caption


def test_textures_only_has_no_objects_and_few_types():
    dataset = SyntheticDataset("train", 60, textures_only=True)
    assert all(PART_KINDS[name].is_texture for name in dataset.classes)
    drawn = {dataset[index].defect_type for index in range(1, 60, 2)}
    assert drawn == set(FEW_TYPES)


@pytest.mark.parametrize("split", ["test", "pretrain"])
def test_plain_statistics_do_not_solve_the_split(split):
    dataset = SyntheticDataset(split, 240)
    rows, labels = [], []
    for index in range(len(dataset)):
        sample = dataset[index]
        grey = sample.image_bgr.mean(axis=2)
        blocks = grey.reshape(14, 16, 14, 16).std(axis=(1, 3))
        rows.append([grey.mean(), grey.std(), grey.min(), grey.max(), blocks.mean(), blocks.max()])
        labels.append(sample.label)
    labels = np.array(labels, bool)
    for column in np.array(rows).T:
        above = (column[labels][:, None] > column[~labels][None]).mean()
        ties = (column[labels][:, None] == column[~labels][None]).mean()
        assert 0.3 < above + 0.5 * ties < 0.7


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "dev"}, "unknown split 'dev'"),
        ({"size": 32}, "32 px is too small"),
        ({"seed": -1}, "seed -1 is negative"),
        ({"count": -5}, "cannot generate -5"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(InputError, match=words):
        SyntheticDataset(**options)


def test_reading_past_the_end_is_an_index_error():
    dataset = SyntheticDataset("train", 4, size=64)
    for index in (4, -1):
        with pytest.raises(IndexError):
            dataset[index]
    assert len([sample for sample in dataset]) == 4
