"""The sentences that describe abnormal and normal states (DIVE section 4.2 and appendix A.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zsad.errors import InputError
from zsad.schema import from_json, read_json
from zsad_train.prompts import check_fits
from zsad_train.similarity import mean_direction
from zsad_train.towers import Backbone

BUILT_IN = Path(__file__).parent / "data" / "descriptions.json"
"""100 abnormal and 35 normal sentences, the paper's counts, in our own words."""


@dataclass(frozen=True)
class Descriptions:
    """Sentences about states, no object named.

    Attributes:
        abnormal: What a defect looks like, one per sentence.
        normal: What the absence of defects looks like.
    """

    abnormal: tuple[str, ...]
    normal: tuple[str, ...]


def read_descriptions(path: Path = BUILT_IN) -> Descriptions:
    """Read a JSON file `{"abnormal": [...], "normal": [...]}`.

    Raises:
        InputError: The file is missing or of another shape, a list is empty, or a sentence is
            empty or there twice.
    """
    found = from_json(Descriptions, read_json(path, "description file"), str(path))
    for name, sentences in (("abnormal", found.abnormal), ("normal", found.normal)):
        if not sentences:
            raise InputError(f"{path}: '{name}' is empty: give at least one sentence")
    seen: set[str] = set()
    for sentence in (*found.abnormal, *found.normal):
        key = " ".join(sentence.lower().split())
        if not key:
            raise InputError(f"{path}: there is an empty sentence: remove it")
        if key in seen:
            raise InputError(f"{path}: '{sentence}' is there twice: remove one")
        seen.add(key)
    return found


@torch.no_grad()
def encode_sentences(backbone: Backbone, sentences: Sequence[str]) -> Tensor:
    """Return the frozen text tower's embeddings (n, D) of plain sentences, not normalised.

    Raises:
        InputError: A sentence does not fit the text tower's context.
    """
    token_ids = backbone.tokenize(list(sentences))
    check_fits(backbone.text, token_ids, sentences)
    return backbone.text.encode(token_ids)


def encode_pair(backbone: Backbone, normal: Sequence[str], abnormal: Sequence[str]) -> Tensor:
    """Return the mean embeddings (2, D), [normal, abnormal], of sentences about either state.

    Every sentence counts with length 1, as CLIP's own prompt ensembles do.

    Raises:
        InputError: A sentence does not fit the text tower's context.
    """
    states = (normal, abnormal)
    return torch.stack([mean_direction(encode_sentences(backbone, s)) for s in states])
