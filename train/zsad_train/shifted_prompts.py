"""Prompts whose shift follows each image, once their words are constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsad_train.towers import TextTail, TextTower

if TYPE_CHECKING:
    from zsad_train.prompts import PromptLearner


class ShiftedPrompts(nn.Module):
    """`PromptLearner` for inference where own tokens are shifted per image.

    Start and context come before them and are the same in every prompt, so only the tokens from
    the first own one on are computed: 10 x 6 instead of FAPrompt's 22 x 77.
    """

    rest: Tensor
    is_own: Tensor
    tail: TextTail

    @torch.no_grad()
    def __init__(
        self, learner: PromptLearner, text: TextTower, shared: ShiftedPrompts | None = None
    ) -> None:
        """Bake the prompts of `learner`; nothing but `shared`'s text blocks is shared."""
        super().__init__()
        embeddings = learner.embeddings()  # (n, L, width)
        begin, own_length = 1 + len(learner.context), learner.own.shape[1]
        prefix, rest = embeddings[0, :begin], embeddings[:, begin:]
        ends = [end - begin for end in learner.eot.tolist()]
        tail = None if shared is None else shared.tail
        self.tail = TextTail(text, prefix, ends, learner.deep_prompts(), shared=tail)
        self.register_buffer("rest", rest.clone())  # (n, L - begin, width)
        is_own = torch.arange(rest.shape[1]) < own_length
        self.register_buffer("is_own", is_own[:, None].to(rest.dtype))

    def forward(self, shift: Tensor) -> Tensor:
        """Return the embeddings (B, n, D), not normalised.

        Args:
            shift: (B, width), or one per prompt, (B, n, width).
        """
        features: Tensor = self.tail(self.rest + per_token(shift) * self.is_own)
        return features


class SampledPrompts(nn.Module):
    """Prompts for inference whose first own tokens follow the image, the others R constant samples.

    One prompt each of several learners, which differ in their tokens only, all through one copy of
    the text blocks. What the R texts of a prompt have in common is computed once: with CoPS's
    prompts 92 tokens per image instead of 20 x 77.
    """

    rest: Tensor

    @torch.no_grad()
    def __init__(
        self, learners: Sequence[PromptLearner], text: TextTower, samples: Tensor, shifted: int
    ) -> None:
        """Bake one prompt of each of `learners`; nothing is shared with them.

        Args:
            learners: What is baked; they share their deep tokens.
            text: The text tower.
            samples: (R, width), each added to all own tokens but the first.
            shifted: How many own tokens are the first.
        """
        super().__init__()
        first = learners[0]
        length = first.own.shape[1]
        shift = samples[:, None].repeat(1, length, 1)
        shift[:, :shifted] = 0
        texts = torch.stack([learner.embeddings(shift[:, None])[:, 0] for learner in learners])
        begin = 1 + len(first.context)
        trunk, branches = texts[:, 0, begin : begin + shifted], texts[:, :, begin + shifted :]
        self.tail = TextTail(
            text,
            texts[:, 0, :begin],
            [texts.shape[2] - begin - 1],
            first.deep_prompts(),
            trunk=shifted,
            branches=len(samples),
        )
        self.register_buffer("rest", torch.cat([trunk, branches.flatten(1, 2)], dim=1))

    def forward(self, shift: Tensor) -> Tensor:
        """Return the embeddings (B, n, R, D), not normalised, of n learners.

        Args:
            shift: (B, n, shifted, width), added to the first own tokens.
        """
        padding = self.rest.shape[1] - shift.shape[2]
        features: Tensor = self.tail(self.rest + F.pad(shift, (0, 0, 0, padding)))
        return features


def per_token(shift: Tensor) -> Tensor:
    """Return a shift as (B, 1 or n, 1 or own_length, width)."""
    if shift.dim() == 4:
        return shift
    return (shift if shift.dim() == 3 else shift[:, None])[:, :, None]
