import numpy as np
import pytest

from zsad.data.synthetic import SyntheticDataset, render
from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.classes import FEW_TYPES, PART_KINDS, SPLITS, classes_of, types_for
from zsad.data.synthetic.dataset import MIN_AREA, MIN_CHANGE
from zsad.data.synthetic.defect_table import DEFECT_TYPES

OWN = tuple(name for name, kind in DEFECT_TYPES.items() if kind.split == "pretrain")
SHARED = tuple(name for name, kind in DEFECT_TYPES.items() if kind.split is None)
CLASSES = ("leather", "brick wall", "patterned surface", "pill", "circuit board", "label")


def drawn(defect, class_name, seed=0, size=160):
    rng = np.random.default_rng([seed, CLASSES.index(class_name)])
    canvas = PART_KINDS[class_name].draw(rng, size)
    for _ in range(8):  # as often as the data set tries
        image, mask = DEFECT_TYPES[defect].draw(rng, canvas)
        if mask.any():
            break
    return canvas, image, mask


def grown(mask, reach):
    near = mask.copy()
    for row in range(-reach, reach + 1):
        for column in range(-reach, reach + 1):
            near |= np.roll(mask, (row, column), (0, 1))
    return near


def test_there_are_ten_and_each_has_words_of_its_own():
    assert len(OWN) == 10 and len(SHARED) == 12
    for words in ("phrase", "adjective"):
        own = [getattr(DEFECT_TYPES[name], words) for name in OWN]
        others = {getattr(kind, words) for name, kind in DEFECT_TYPES.items() if name not in OWN}
        assert len(set(own)) == len(own) and not others & set(own)


def test_only_pretrain_draws_them():
    for split in SPLITS:
        for name in classes_of(split):
            groups = types_for(name, split)
            offered = {kind for group in groups for kind in group}
            assert offered & set(OWN) == (set(OWN) if split == "pretrain" else set())
            assert groups[0] == tuple(kind for kind in SHARED if kind in groups[0])
            assert len(groups) == (2 if split in ("test", "pretrain") else 1)


def test_half_of_the_pretrain_defects_are_of_its_own_types():
    dataset = SyntheticDataset("pretrain", 160, size=64)
    own = [dataset[index].defect_type in OWN for index in range(1, 160, 2)]
    assert 0.3 < np.mean(own) < 0.7


def test_few_types_stay_few():
    assert types_for("leather", "pretrain", few=True) == (FEW_TYPES,)


@pytest.mark.parametrize("class_name", CLASSES)
@pytest.mark.parametrize("defect", OWN)
def test_a_type_changes_what_its_mask_says(defect, class_name):
    canvas, image, mask = drawn(defect, class_name)
    assert image.shape == canvas.image.shape and image.dtype == np.float32
    assert mask.shape == canvas.part.shape and mask.dtype == np.bool_
    assert mask.any() and np.isfinite(image).all() and not (mask & ~canvas.part).any()
    change = np.abs(image - canvas.image).max(axis=2)
    assert not (change[~canvas.part] > 1e-3).any()
    assert (change[mask] > 3).mean() > 0.5  # gaps of a pattern belong to the area
    missed = (change > 25) & ~grown(mask, 4)
    assert missed.sum() <= 0.1 * mask.sum()


@pytest.mark.parametrize("class_name", CLASSES)
@pytest.mark.parametrize("defect", OWN)
def test_a_sample_of_a_type_can_be_seen(defect, class_name):
    rng = np.random.default_rng([5, CLASSES.index(class_name)])
    scene = render(rng, class_name, ((defect,),), 160, with_clean=True)
    change = np.abs(scene.image_bgr.astype(int) - scene.clean_bgr).max(axis=2)
    assert scene.mask.mean() >= MIN_AREA
    assert change[scene.mask].mean() >= 0.6 * MIN_CHANGE
    kind = DEFECT_TYPES[defect]
    words = (kind.phrase.split(" ", 1)[-1], kind.adjective)
    assert any(word in scene.caption for word in words)


@pytest.mark.parametrize("defect", OWN)
def test_a_drawing_depends_on_its_seed_alone(defect):
    _, image, mask = drawn(defect, "circuit board", seed=3)
    _, again, mask_again = drawn(defect, "circuit board", seed=3)
    other = drawn(defect, "circuit board", seed=4)[1]
    assert np.array_equal(image, again) and np.array_equal(mask, mask_again)
    assert not np.array_equal(image, other)


@pytest.mark.parametrize("defect", ["misplaced piece", "flipped area"])
def test_what_cannot_be_told_from_the_clean_part_is_no_defect(defect):
    even = np.full((96, 96, 3), 120, np.float32)
    canvas = Canvas(even, np.ones((96, 96), np.bool_), 0 * even, is_texture=True)
    image, mask = DEFECT_TYPES[defect].draw(np.random.default_rng(0), canvas)
    assert np.array_equal(image, even) and not mask.any()


@pytest.mark.parametrize("defect", OWN)
def test_the_smallest_images_work_too(defect):
    _, image, mask = drawn(defect, "pill", size=64)
    assert image.shape == (64, 64, 3) and mask.shape == (64, 64)
