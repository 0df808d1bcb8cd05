from zsad.data import open_dataset
from zsad_train.defect_words import WORD_OF, type_word, type_words


def test_mvtecs_folders_are_dapos_twenty_words():
    assert len(set(WORD_OF.values())) == 20
    assert type_word("poke_insulation") == type_word("poke") == "puncture"
    assert type_word("color") == "discoloration"
    assert type_word("damaged_case") == "wear"


def test_other_names_stay_and_lose_their_underscores():
    assert type_word("loose_thread") == "loose thread"
    assert type_words(["loose_thread", "color", "discoloration", "bent_lead", "bent"]) == (
        "bent",
        "discoloration",
        "loose thread",
    )


def test_a_generated_split_says_what_it_draws():
    train, test = (open_dataset("synthetic", split=split, limit=60) for split in ("train", "test"))
    for data in (train, test):
        seen = {data[index].defect_type for index in range(len(data))} - {"good"}
        assert seen <= set(data.defect_types) and len(seen) > 5
    assert "burn" in test.defect_types and "burn" not in train.defect_types


def test_a_folder_says_what_it_holds(tmp_path):
    import cv2
    import numpy as np

    for name in ("good", "bent_lead", "dust"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "0.png"), np.zeros((4, 4, 3), np.uint8))
    assert open_dataset(f"folder:{tmp_path}").defect_types == ("bent_lead", "dust")
