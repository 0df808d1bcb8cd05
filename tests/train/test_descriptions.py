import json

import pytest

from zsad.errors import InputError
from zsad_train.descriptions import encode_sentences, read_descriptions


@pytest.fixture
def write(tmp_path):
    def write_json(content):
        path = tmp_path / "bank.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_json


def test_the_built_in_bank_has_the_papers_counts_and_style():
    found = read_descriptions()
    assert (len(found.abnormal), len(found.normal)) == (100, 35)
    assert all(s.startswith("a photo of an object with ") for s in found.abnormal + found.normal)


def test_the_built_in_bank_fits_clips_text_tower(backbone):
    found = read_descriptions()
    embedded = encode_sentences(backbone, (*found.abnormal, *found.normal))
    assert embedded.shape == (135, 16) and embedded.isfinite().all()


def test_a_file_is_read_in_order(write):
    found = read_descriptions(write({"abnormal": ["b", "a"], "normal": ["c"]}))
    assert found.abnormal == ("b", "a") and found.normal == ("c",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ([], "expected dict"),
        ({"abnormal": ["a"]}, "'normal' is missing"),
        ({"abnormal": ["a"], "normal": ["b"], "odd": []}, "unknown key 'odd'"),
        ({"abnormal": [], "normal": ["b"]}, "'abnormal' is empty"),
        ({"abnormal": ["a"], "normal": []}, "'normal' is empty"),
        ({"abnormal": ["a", " "], "normal": ["b"]}, "empty sentence"),
        ({"abnormal": ["a", 3], "normal": ["b"]}, "expected str"),
        ({"abnormal": ["a dent", "A  dent"], "normal": ["b"]}, "'A  dent' is there twice"),
        ({"abnormal": ["a"], "normal": ["a"]}, "'a' is there twice"),
    ],
)
def test_a_bad_file_is_refused(write, content, message):
    with pytest.raises(InputError, match=message):
        read_descriptions(write(content))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"description file not found: .*none\.json"):
        read_descriptions(tmp_path / "none.json")


def test_a_sentence_that_the_tokenizer_would_cut_is_refused(backbone):
    encode_sentences(backbone, ["stain " * 74])
    with pytest.raises(InputError, match="fills all 77 text tokens"):
        encode_sentences(backbone, ["a dent", "stain " * 80])
