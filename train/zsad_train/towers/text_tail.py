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

    Deep prompts that reach beyond the prefix overwrite tokens that it does not hold. Nothing that
    comes out of them depends on those tokens, so from the second block on they are prefix, too.
    Every text ends with its end-of-text token, and the last block computes only the rows from the
    first such token on.
    """

    positions: Tensor
    blocks: nn.ModuleList

    @torch.no_grad()
    def __init__(
        self,
        text: TextTower,
        prefix: Tensor,
        ends: Sequence[int],
        deep_prompts: Sequence[Tensor] = (),
        *,
        shared: TextTail | None = None,
    ) -> None:
        """Run the prefix once.

        Args:
            text: The tower; its parameters are copied.
            prefix: (p, width) token embeddings, without positions; the start token at least.
            ends: Place of the end-of-text token behind the prefix, of each of n texts.
            deep_prompts: As in `TextTower.forward`.
            shared: Another tail of the same tower, whose copies of its blocks are used too.

        Raises:
            ValueError: A deep prompt reaches an end-of-text token.
        """
        super().__init__()
        reach = max([len(prefix), *(1 + len(deep) for deep in deep_prompts)])
        taken, first_end, length = reach - len(prefix), min(ends), max(ends) + 1
        if taken > first_end:
            raise ValueError(f"deep prompts of {reach - 1} tokens reach an end-of-text token")
        # What stands beyond the prefix is overwritten before anything reads it.
        padded = torch.cat([prefix, prefix.new_zeros(taken, prefix.shape[1])])
        _, seen = text.run_blocks(padded[None], deep_prompts)
        self.blocks = nn.ModuleList(
            TailBlock(
                copy.deepcopy(block) if shared is None else shared.blocks[index].block,
                keys_values,
                prefix=reach if index else len(prefix),
                length=length - taken if index else length,
                wanted=_first_wanted(index, text.depth, taken, first_end),
            )
            for index, (block, keys_values) in enumerate(zip(text.blocks, seen, strict=True))
        )
        self.ends = tuple(end - first_end for end in ends)
        self.ln_final = copy.deepcopy(text.ln_final)
        self.text_projection = copy.deepcopy(text.text_projection)
        positions = text.positional_embedding[len(prefix) : len(prefix) + length]
        self.register_buffer("positions", positions.clone())

    def forward(self, tails: Tensor) -> Tensor:
        """Return the features (..., n, D), not normalised, of tails (..., n, L, width)."""
        tokens = (tails + self.positions).flatten(0, -3)
        for block in self.blocks:
            tokens = block(tokens)
        features = read_out(self._at_ends(tokens), self.ln_final, self.text_projection)
        return features.reshape(*tails.shape[:-2], features.shape[-1])

    def _at_ends(self, tokens: Tensor) -> Tensor:
        if not any(self.ends):
            return tokens[:, 0]
        rows = tokens.reshape(-1, len(self.ends), *tokens.shape[1:])  # (S / n, n, rows, width)
        return torch.stack([rows[:, i, end] for i, end in enumerate(self.ends)], 1).flatten(0, 1)


class TailBlock(nn.Module):
    """One block of the tower, its prefix baked."""

    key: Tensor
    value: Tensor
    mask: Tensor

    def __init__(
        self,
        block: ResidualAttentionBlock,
        seen: KeysValues,
        *,
        prefix: int,
        length: int,
        wanted: int,
    ) -> None:
        """Take over `block` and bake the first `prefix` keys and values in it.

        Args:
            block: The block.
            seen: Its keys and values, (1, heads, p, d) each.
            prefix: How many of them are constant.
            length: Tokens that enter.
            wanted: The first of them that leaves.
        """
        super().__init__()
        self.block = block
        self.wanted = wanted
        key, value = seen[0][0, :, :prefix], seen[1][0, :, :prefix]
        self.register_buffer("key", (key / math.sqrt(key.shape[-1])).mT.contiguous())
        self.register_buffer("value", value.contiguous())
        mask = torch.full((length, length), _HIDDEN).triu(1)[wanted:]
        self.hides = bool(mask.any())
        self.register_buffer("mask", mask)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what leaves the block, (S, L or fewer, width), for tokens (S, L, width)."""
        block, rows = self.block, slice(self.wanted, None) if self.wanted else None
        q, k, v = project_qkv(block.attn, block.ln_1(tokens), queries=rows)
        mask = self.mask if self.hides else None
        attended = attend_behind(block.attn, q, k, v, (self.key, self.value), mask)
        return finish_block(block, tokens if rows is None else tokens[:, rows], attended)


def _first_wanted(index: int, depth: int, taken: int, first_end: int) -> int:
    """Return the first token that leaves a block, of those that enter it."""
    if index == depth - 1:
        return first_end - taken if index else first_end
    return 0 if index else taken
