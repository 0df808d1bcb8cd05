import cv2
import numpy as np
import pytest

from photographs import choose, pick_photographs
from zsad.data import open_dataset


@pytest.fixture
def parts(tmp_path):
    root = tmp_path / "plate"
    for defect, count in (("good", 6), ("crack", 5)):
        (root / defect).mkdir(parents=True)
        for index in range(count):
            image = np.full((4, 5, 3), 20 * index + (defect == "good"), np.uint8)
            cv2.imwrite(str(root / defect / f"p{index}.png"), image)
    return f"folder:{root}"


def names(samples):
    return [sample.name for sample in samples]


def test_both_labels_are_chosen_and_excluded_names_are_not(parts):
    chosen = choose(open_dataset(parts), {"good/p0", "good/p1", "crack/p4"}, 3, seed=0)
    assert [sample.label for sample in chosen] == [0, 0, 0, 1, 1, 1]
    assert not {"good/p0", "good/p1", "crack/p4"} & set(names(chosen))


def test_the_choice_is_seeded(parts):
    dataset = open_dataset(parts)
    assert names(choose(dataset, set(), 3, 1)) == names(choose(dataset, set(), 3, 1))
    assert len({tuple(names(choose(dataset, set(), 3, seed))) for seed in range(6)}) > 1


def test_fewer_than_asked_for_is_all_there_is(parts):
    assert len(choose(open_dataset(parts), set(), 100, 0)) == 11


def test_pictures_are_written_unchanged_and_an_older_choice_is_gone(parts, tmp_path):
    excluded, folder = tmp_path / "names.txt", tmp_path / "picked"
    excluded.write_text("good/p0\ngood/p1\ngood/p2\ngood/p3\n")
    folder.mkdir()
    (folder / "old.png").write_bytes(b"")
    words = pick_photographs(parts, excluded, folder, per_label=2, seed=0)
    assert words.startswith("2 good and 2 defective images")
    found = sorted(path.name for path in folder.iterdir())
    assert found[2:] == ["good-good-p4.png", "good-good-p5.png"]
    assert all(name.startswith("crack-crack-p") for name in found[:2])
    assert (cv2.imread(str(folder / "good-good-p4.png")) == 81).all()
