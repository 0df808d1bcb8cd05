"""Prompts whose context is learned while the text tower stays frozen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zsad.errors import InputError
from zsad_train.shifted_prompts import ShiftedPrompts, per_token
from zsad_train.towers import Backbone, TextTower

INIT_STD = 0.02
"""Standard deviation of new tokens, that of CLIP's own token embedding (CoOp, AnomalyCLIP)."""

PLACEHOLDER = "X"
"""A word of one token that stands where a learned token goes."""


class PromptLearner(nn.Module):
    """Prompts `[context] [own] words.`; only the tokens in brackets and the deep ones are learned.

    The context is one for all prompts. `own` tokens, one set per prompt, follow it where prompts
    are to differ in more than their words (FAPrompt's compound abnormal prompts). Deep tokens
    overwrite positions 1..deep_length at the input of each text block from the second on; the
    sequence keeps its length, and after the last set it simply runs on (DIVE Eq. 1-2).

    Attributes:
        context: (m, width) float32, at positions 1..m, right after the start token.
        own: (n, own_length, width) float32.
        deep: (deep_sets, deep_length, width) float32.
    """

    start: Tensor
    suffix: Tensor
    eot: Tensor

    def __init__(
        self,
        backbone: Backbone,
        words: Sequence[str],
        *,
        length: int,
        own_length: int = 0,
        deep_sets: int = 0,
        deep_length: int = 0,
        context: nn.Parameter | None = None,
        deep: nn.Parameter | None = None,
        deep_half: bool = False,
        own_text: str | None = None,
    ) -> None:
        """Draw the learned tokens and embed the fixed ones.

        Args:
            backbone: The frozen CLIP; only its tokenizer and token embedding are used here.
            words: The fixed end of each prompt, without the full stop; one prompt per entry. An
                empty one leaves the full stop alone.
            length: Context tokens m.
            own_length: Tokens of its own that each prompt has after the context.
            deep_sets: Text blocks, from the second on, that get new tokens: the prompting depth
                minus one, since the context itself is the first block's set.
            deep_length: Tokens in each deep set.
            context: Share another learner's context instead of drawing one.
            deep: Share another learner's deep sets.
            deep_half: Round the deep tokens to half precision, and their gradient with them, as
                AnomalyCLIP's released code does.
            own_text: Words whose embeddings are the own tokens, frozen, instead of learned ones.

        Raises:
            InputError: A prompt does not fit the text tower's context.
        """
        super().__init__()
        width = backbone.text.width
        self.context = context if context is not None else _new_tokens(length, width)
        if own_text is None:
            self.own = _new_tokens(len(words), own_length, width)
        else:
            own = _embed_words(backbone, own_text).expand(len(words), -1, -1)
            self.own = nn.Parameter(own.clone(), requires_grad=False)
            own_length = own.shape[1]
        self.deep_half = deep_half
        self.deep = deep if deep is not None else _new_tokens(deep_sets, deep_length, width)

        placeholders = [PLACEHOLDER] * (length + own_length)
        token_ids = backbone.tokenize([" ".join([*placeholders, f"{word}."]) for word in words])
        eot = check_fits(backbone.text, token_ids, words)
        fixed = backbone.text.embed(token_ids).detach()[:, : int(eot.max()) + 1]  # (n, L, width)
        self.register_buffer("start", fixed[:1, :1].clone(), persistent=False)
        self.register_buffer("suffix", fixed[:, 1 + len(placeholders) :].clone(), persistent=False)
        self.register_buffer("eot", eot, persistent=False)

    def embeddings(self, shift: Tensor | None = None) -> Tensor:
        """Return the prompts at word-embedding level, cut at the last end token.

        Args:
            shift: Added to own tokens, which makes B sets of prompts: (B, width), the same to all
                of a set (FAPrompt Eq. 4); (B, n, width), one for each prompt (MRAD); or
                (B, 1, own_length, width), one for each token (CoPS).

        Returns:
            (n, L, width), with a shift (B, n, L, width).
        """
        own = self.own if shift is None else self.own + per_token(shift)
        shape = (*own.shape[:-2], -1, -1)
        parts = (self.start, self.context, own, self.suffix)
        return torch.cat([part.expand(shape) for part in parts], dim=-2)

    def deep_prompts(self) -> tuple[Tensor, ...]:
        """Return the deep sets as they enter the text tower, each (deep_length, width)."""
        deep = self.deep.half().to(self.deep.dtype) if self.deep_half else self.deep
        return deep.unbind(0)

    def forward(self, text: TextTower, shift: Tensor | None = None) -> Tensor:
        """Return the prompts' embeddings in the joint space, not normalised.

        Args:
            text: The frozen text tower.
            shift: As in `embeddings`.

        Returns:
            (n, D), with a shift (B, n, D).
        """
        embeddings = self.embeddings(shift)
        sets = 1 if shift is None else len(shift)
        embedded: Tensor = text(
            embeddings.flatten(0, -3), self.eot.repeat(sets), self.deep_prompts()
        )
        return embedded.reshape(*embeddings.shape[:-2], embedded.shape[-1])

    def bake(self, text: TextTower, shared: ShiftedPrompts | None = None) -> ShiftedPrompts:
        """Return the same map of shifts, with everything that no shift reaches as constants.

        Args:
            text: The frozen text tower.
            shared: Prompts baked before, whose copy of the text tower is used too.
        """
        return ShiftedPrompts(self, text, shared)


def check_fits(text: TextTower, token_ids: Tensor, sentences: Sequence[str]) -> Tensor:
    """Return the positions (n,) of the end tokens; refuse sentences that may have been cut.

    A tokenizer that cuts a long sentence keeps the end token and says nothing.

    Args:
        text: The text tower, which knows its end token.
        token_ids: (n, context_length) int64, the tokenized sentences.
        sentences: What was tokenized, for the error.

    Raises:
        InputError: A sentence fills the whole context, so that its last words may be lost.
    """
    eot = text.eot_positions(token_ids)
    length = token_ids.shape[1]
    for sentence, end in zip(sentences, eot.tolist(), strict=True):
        if end == length - 1:
            start = sentence if len(sentence) <= 60 else f"{sentence[:57]}..."
            raise InputError(f"'{start}' fills all {length} text tokens: use fewer words")
    return eot


def _embed_words(backbone: Backbone, words: str) -> Tensor:
    """Return the embeddings (L, width) of words alone, without start and end token."""
    token_ids = backbone.tokenize([words])
    end = int(check_fits(backbone.text, token_ids, [words])[0])
    return backbone.text.embed(token_ids).detach()[0, 1:end]


def _new_tokens(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * INIT_STD)
