"""CLIP's byte-pair tokenizer for plain English, without the packages that its own asks for.

It equals open_clip's on lower and upper case ASCII that holds no markup; `zsad.words` lets
nothing else through.
"""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zsad.errors import InputError

MERGES = 48_894
"""Merges that CLIP uses of the list in its vocabulary file."""

_BYTES = 256
_START = 2 * _BYTES + MERGES
_END = _START + 1
_FIRST = ord("!")  # the printable ASCII characters come first among CLIP's bytes
_WORD_END = "</w>"
_PIECE = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")


class Tokenizer:
    """From sentences to CLIP's token ids."""

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        """Take over CLIP's merges, most frequent first."""
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._merged = {"".join(pair): rank for pair, rank in self._ranks.items()}

    @classmethod
    def read(cls, path: Path) -> Tokenizer:
        """Read CLIP's vocabulary file, gzipped text with a merge per line after a heading.

        Raises:
            InputError: It is not that file.
        """
        try:
            lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise InputError(f"vocabulary {path} cannot be read: {error}") from None
        merges = [tuple(line.split()) for line in lines[1 : 1 + MERGES]]
        if len(merges) < MERGES or any(len(pair) != 2 for pair in merges):
            raise InputError(f"vocabulary {path} is not CLIP's: export the artifact again")
        return cls([(first, second) for first, second in merges])

    def encode(self, sentence: str) -> list[int]:
        """Return the ids of a sentence between those of start and end."""
        pieces = _PIECE.findall(" ".join(sentence.split()).lower())
        return [_START, *(self._id(part) for piece in pieces for part in self._split(piece)), _END]

    def batch(self, sentences: Sequence[str], length: int) -> npt.NDArray[np.int64]:
        """Return ids (n, length) int64, 0 behind the end.

        Raises:
            InputError: A sentence fills the whole length, so that others would lose their end.
        """
        ids = np.zeros((len(sentences), length), np.int64)
        for row, sentence in zip(ids, sentences, strict=True):
            encoded = self.encode(sentence)
            if len(encoded) >= length:
                shown = sentence if len(sentence) <= 60 else f"{sentence[:57]}..."
                raise InputError(f"'{shown}' fills all {length} text tokens: use fewer words")
            row[: len(encoded)] = encoded
        return ids

    def _split(self, piece: str) -> list[str]:
        parts = [*piece[:-1], piece[-1] + _WORD_END]
        while len(parts) > 1:
            pairs = set(itertools.pairwise(parts))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, MERGES))
            if best not in self._ranks:
                break
            parts = _merge(parts, best)
        return parts

    def _id(self, part: str) -> int:
        if part in self._merged:
            return 2 * _BYTES + self._merged[part]
        ends = part.endswith(_WORD_END)
        return ord(part[0]) - _FIRST + (_BYTES if ends else 0)


def _merge(parts: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    index = 0
    while index < len(parts):
        both = tuple(parts[index : index + 2]) == pair
        merged.append("".join(pair) if both else parts[index])
        index += 2 if both else 1
    return merged
