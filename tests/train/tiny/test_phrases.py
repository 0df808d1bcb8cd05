import pytest

from zsad.data.synthetic import SyntheticDataset
from zsad.data.synthetic.classes import classes_of
from zsad_train.tiny.phrases import (
    SEEN_TYPES,
    type_phrases,
    with_noun,
    with_tones_swapped,
    without_place,
)


def test_the_negative_swaps_tones():
    caption = "a photo of a washer with a dark scratch"
    assert with_tones_swapped(caption) == "a photo of a washer with a bright scratch"
    assert with_tones_swapped("a bright stain on dark wood") == "a dark stain on bright wood"
    assert with_tones_swapped("a brightly lit part") == "a brightly lit part"


def test_type_sentences_follow_the_types():
    sentences = type_phrases("a photo of an object with {}")
    assert len(sentences) == len(SEEN_TYPES) == 22
    assert sentences[SEEN_TYPES.index("missing part")] == (
        "a photo of an object with a missing part"
    )


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a gear with a scratch in the upper left", "a gear with a scratch"),
        ("wood with a stain in the middle", "wood with a stain"),
        ("a pill with a crack in the lower half", "a pill with a crack"),
        ("a pill with a dent on the right", "a pill with a dent"),
        ("a pill in good condition", "a pill in good condition"),
    ],
)
def test_places_are_taken_out_of_captions(caption, expected):
    assert without_place(caption) == expected


@pytest.mark.parametrize(
    ("caption", "name", "noun", "expected"),
    [
        ("a photo of a gear with a cut", "gear", "object", "a photo of an object with a cut"),
        ("an intact pill", "pill", "item", "an intact item"),
        ("clean wood with no damage", "wood", "surface", "clean surface with no damage"),
    ],
)
def test_nouns_are_exchanged(caption, name, noun, expected):
    assert with_noun(caption, name, noun) == expected


def test_the_pretrain_split_names_its_class_in_captions_that_can_do_without():
    for name in classes_of("pretrain"):
        index = 2 * classes_of("pretrain").index(name)
        for sample in (SyntheticDataset("pretrain", 200, size=64)[index + i] for i in (0, 1)):
            plain = with_noun(sample.caption, name, "object")
            assert name not in plain and "object" in plain, sample.caption
