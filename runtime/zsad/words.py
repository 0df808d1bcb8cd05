"""Words for defect types, as a user gives them: `--defects "scratch,missing screw"`."""

from __future__ import annotations

import re
from collections import Counter

from zsad.errors import InputError

MAX_TYPES = 64
"""Largest number of defect types of one artifact: each has a map of the model's size, and engines
are built for up to so many."""

_USABLE = re.compile(r"[A-Za-z0-9 '()+./%-]+")


def parse_words(text: str) -> tuple[str, ...]:
    """Return the words of a comma-separated list, with single spaces, in their order.

    Raises:
        InputError: The list is empty or too long, or a word is empty, there twice, or written in
            characters other than those of English.
    """
    words = tuple(" ".join(part.split()) for part in text.split(","))
    if not any(words):
        raise InputError(
            "--defects is empty: name defect types, for example 'scratch,missing screw'"
        )
    if "" in words:
        raise InputError(f"--defects '{_shown(text)}' has an empty word: remove a comma")
    check_words(words)
    return words


def check_words(words: tuple[str, ...]) -> None:
    """Refuse words that no text table is made of, those of a training set's folders among them.

    Raises:
        InputError: There are too many, or one is there twice or not written as English is.
    """
    if len(words) > MAX_TYPES:
        raise InputError(
            f"{len(words)} defect types are too many: give --defects {MAX_TYPES} at most"
        )
    for word in words:
        # CLIP reads English, and its tokenizer cleans up other text in ways of its own.
        if not _USABLE.fullmatch(word) or not any(map(str.isalpha, word)):
            raise InputError(
                f"defect type '{_shown(word)}' is not English letters, digits and '()+./%-: "
                "give --defects English words"
            )
    counts = Counter(word.lower() for word in words)
    for word in words:
        if counts[word.lower()] > 1:
            raise InputError(f"defect type '{_shown(word)}' is there twice: name it once")


def _shown(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
