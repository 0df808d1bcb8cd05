"""The ends of texts that all begin alike, encoded without computing the beginning again.

The text tower is causal: what comes first knows nothing of what follows. The keys and values of a
common beginning are therefore constants of each block, and a graph whose text depends on the image
computes the tokens behind it only. Where several ends begin alike in turn, that part of them, the
trunk, is computed once for all of them: a sequence of trunk and branches, in which a mask lets
every branch see the trunk and itself.
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
"""Added to a score that the mask hides: far below any score, and half precision holds it."""


class TextTail(nn.Module):
    """A text tower behind constant prefixes; it shares nothing with the tower it is made of.

    Every text has the same number of tokens and ends with its end-of-text token, which is all that
    the last block computes.
    """

    positions: Tensor

    @torch.no_grad()
    def __init__(
        self,
        text: TextTower,
        prefix: Tensor,
        length: int,
        deep_prompts: Sequence[Tensor] = (),
        *,
        trunk: int = 0,
        branches: int | None = None,
    ) -> None:
        """Run the prefix once.

        Args:
            text: The tower; its parameters are copied.
            prefix: Token embeddings without positions, (p, width), or (n, p, width) for n prefixes
                that take turns.
            length: Tokens L of each text behind the prefix.
            deep_prompts: As in `TextTower.forward`; they stay inside the prefix.
            trunk: Tokens behind the prefix that the branches share, fewer than L.
            branches: Texts that go on from one trunk; None is one, without an axis of its own.

        Raises:
            ValueError: A deep prompt reaches beyond the prefix.
        """
        super().__init__()
        begin = prefix.shape[-2]
        if any(1 + len(deep) > begin for deep in deep_prompts):
            raise ValueError(f"a deep prompt reaches beyond the prefix of {begin} tokens")
        several = prefix.dim() == 3
        _, seen = text.run_blocks(prefix if several else prefix[None], deep_prompts)
        seen = seen if several else [(key[0], value[0]) for key, value in seen]
        place, mask = _tree(trunk, length - trunk, branches or 1)
        ends = slice(length - 1, None, length - trunk)
        self.blocks = nn.ModuleList(
            TailBlock(block, keys_values, mask, ends if index == text.depth - 1 else slice(None))
            for index, (block, keys_values) in enumerate(zip(text.blocks, seen, strict=True))
        )
        self.ln_final = copy.deepcopy(text.ln_final)
        self.text_projection = copy.deepcopy(text.text_projection)
        self.register_buffer("positions", text.positional_embedding[begin + place].clone())
        self._branches = () if branches is None else (branches,)

    def forward(self, tails: Tensor) -> Tensor:
        """Return the features, not normalised, of what stands behind the prefix.

        Args:
            tails: (..., L, width), with n prefixes (..., n, L, width). With a trunk of t and R
                branches L is t + R (L - t): the trunk, then the rest of every branch.

        Returns:
            (..., D), with branches (..., R, D).
        """
        tokens = (tails + self.positions).flatten(0, -3)
        for block in self.blocks:
            tokens = block(tokens)
        features = read_out(tokens, self.ln_final, self.text_projection)
        return features.reshape(*tails.shape[:-2], *self._branches, features.shape[-1])


class TailBlock(nn.Module):
    """One block of the tower, its prefix baked."""

    key: Tensor
    value: Tensor
    mask: Tensor | None

    def __init__(
        self, block: ResidualAttentionBlock, prefix: KeysValues, mask: Tensor, wanted: slice
    ) -> None:
        """Copy `block` and bake what is constant in it.

        Args:
            block: The block.
            prefix: Keys and values ([n,] heads, p, d).
            mask: (L, L), added to the scores.
            wanted: Which tokens are computed; all are attended to.
        """
        super().__init__()
        self.block = copy.deepcopy(block)
        key, value = prefix
        self.wanted = None if wanted == slice(None) else wanted
        self.register_buffer("key", (key / math.sqrt(key.shape[-1])).mT.contiguous())
        self.register_buffer("value", value.contiguous())
        rows = mask[wanted].clone()
        self.register_buffer("mask", rows if rows.any() else None)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what leaves the block, (S, L or fewer, width), for tokens (S, L, width)."""
        block, wanted = self.block, self.wanted
        q, k, v = project_qkv(block.attn, block.ln_1(tokens), queries=wanted)
        attended = attend_behind(block.attn, q, k, v, (self.key, self.value), self.mask)
        return finish_block(block, tokens if wanted is None else tokens[:, wanted], attended)


def _tree(trunk: int, rest: int, branches: int) -> tuple[Tensor, Tensor]:
    """Return the place of each token behind the prefix, (L,), and who sees whom, (L, L)."""
    branch = torch.arange(branches).repeat_interleave(rest)
    branch = torch.cat([torch.full((trunk,), -1), branch])
    place = torch.arange(trunk + rest)
    place = torch.cat([place[:trunk], place[trunk:].repeat(branches)])
    seen = (branch[:, None] == branch) | (branch == -1)
    return place, torch.full(seen.shape, _HIDDEN).masked_fill(seen.tril(), 0)
