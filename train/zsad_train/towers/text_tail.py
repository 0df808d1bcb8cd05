"""The ends of texts that all begin alike, encoded without computing the beginning again.

The text tower is causal: what comes first knows nothing of what follows. The keys and values of a
common beginning are therefore constants of each block, and a graph whose text depends on the image
computes the tokens behind it only.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from zsad_train.towers.attention import attend_behind, project_qkv
from zsad_train.towers.text import KeysValues, TextTower, finish_block, read_out

_HIDDEN = -1e4
"""Added to a score that the causal mask hides: far below any score, and half precision holds it."""


class TextTail(nn.Module):
    """A text tower behind one constant prefix; it shares nothing with the tower it is made of.

    Every text has the same number of tokens and ends with its end-of-text token, which is all that
    the last block computes.
    """

    positions: Tensor

    @torch.no_grad()
    def __init__(
        self, text: TextTower, prefix: Tensor, length: int, deep_prompts: Sequence[Tensor] = ()
    ) -> None:
        """Run the prefix once.

        Args:
            text: The tower; its parameters are copied.
            prefix: (p, width) token embeddings, without positions.
            length: Tokens L of each text behind the prefix.
            deep_prompts: As in `TextTower.forward`; they stay inside the prefix.

        Raises:
            ValueError: A deep prompt reaches beyond the prefix.
        """
        super().__init__()
        if any(1 + len(deep) > len(prefix) for deep in deep_prompts):
            raise ValueError(f"a deep prompt reaches beyond the prefix of {len(prefix)} tokens")
        _, seen = text.run_blocks(prefix[None], deep_prompts)
        self.blocks = nn.ModuleList(
            TailBlock(block, keys_values, length, last=index == text.depth - 1)
            for index, (block, keys_values) in enumerate(zip(text.blocks, seen, strict=True))
        )
        self.ln_final = copy.deepcopy(text.ln_final)
        self.text_projection = copy.deepcopy(text.text_projection)
        positions = text.positional_embedding[len(prefix) : len(prefix) + length]
        self.register_buffer("positions", positions.clone())

    def forward(self, tails: Tensor) -> Tensor:
        """Return the features (..., D), not normalised, of tails (..., L, width)."""
        tokens = (tails + self.positions).flatten(0, -3)
        for block in self.blocks:
            tokens = block(tokens)
        features = read_out(tokens[:, 0], self.ln_final, self.text_projection)
        return features.reshape(*tails.shape[:-2], features.shape[-1])


class TailBlock(nn.Module):
    """One block of the tower, its prefix baked; the last one computes only the last token."""

    key: Tensor
    value: Tensor
    mask: Tensor

    def __init__(
        self, block: ResidualAttentionBlock, prefix: KeysValues, length: int, *, last: bool
    ) -> None:
        """Copy `block` and bake the prefix's keys and values (1, heads, p, d) in it."""
        super().__init__()
        self.block = copy.deepcopy(block)
        key, value = prefix[0][0], prefix[1][0]
        self.last = last
        self.register_buffer("key", (key / math.sqrt(key.shape[-1])).mT.contiguous())
        self.register_buffer("value", value.contiguous())
        self.register_buffer("mask", torch.full((length, length), _HIDDEN).triu(1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what leaves the block, (S, L or 1, width), for tokens (S, L, width)."""
        block, wanted = self.block, slice(-1, None) if self.last else None
        q, k, v = project_qkv(block.attn, block.ln_1(tokens), queries=wanted)
        mask = None if self.last else self.mask
        attended = attend_behind(block.attn, q, k, v, (self.key, self.value), mask)
        return finish_block(block, tokens if wanted is None else tokens[:, wanted], attended)
