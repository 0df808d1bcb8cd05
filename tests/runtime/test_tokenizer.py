import gzip
import random

import numpy as np
import pytest

from zsad.errors import InputError
from zsad.tokenizer import Tokenizer

WORDS = (
    "scratch",
    "missing screw",
    "Faulty Imprint",
    "don't",
    "it's 3/4 worn-out (50%)",
    "o-ring",
    "M8x1.25 thread",
    "supercalifragilisticexpialidocious",
    "zzzzzzzzzz",
    "a",
    "'s",
    "''''",
    "1234567890",
)
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789    '()+./%-"


@pytest.fixture(scope="module")
def tokenizer(vocabulary):
    return Tokenizer.read(vocabulary)


@pytest.fixture(scope="module")
def open_clips():
    return pytest.importorskip("open_clip").SimpleTokenizer()


@pytest.mark.parametrize("words", WORDS)
def test_it_equals_open_clips(tokenizer, open_clips, words):
    sentence = f"X X X X X {words} anomaly object"
    expected = open_clips([sentence], 77).numpy()
    np.testing.assert_array_equal(tokenizer.batch([sentence], 77), expected)


def test_it_equals_open_clips_on_random_text(tokenizer, open_clips):
    rng = random.Random(0)
    sentences = ["".join(rng.choices(ALPHABET, k=rng.randint(1, 25))) for _ in range(2000)]
    np.testing.assert_array_equal(tokenizer.batch(sentences, 77), open_clips(sentences, 77).numpy())


def test_ids_known_by_hand(tokenizer):
    # Bytes come first, "!" being 0; then the same at a word's end; the first merge is "i n".
    assert tokenizer.encode("!") == [49406, 256, 49407]
    assert tokenizer.encode("a") == [49406, 256 + ord("a") - ord("!"), 49407]
    assert tokenizer._id("in") == 512


def test_a_sentence_that_fills_the_context_is_refused(tokenizer):
    assert tokenizer.batch(["a a a"], 6).tolist() == [[49406, 320, 320, 320, 49407, 0]]
    with pytest.raises(InputError, match="'a a a a' fills all 6 text tokens: use fewer words"):
        tokenizer.batch(["a a a a"], 6)


def test_what_is_no_vocabulary_is_refused(tmp_path):
    path = tmp_path / "vocabulary.gz"
    for content in (b"no gzip", gzip.compress(b"a b\nc d\n"), gzip.compress(b"\xff\xfe")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"vocabulary .* (cannot be read|is not CLIP's)"):
            Tokenizer.read(path)
