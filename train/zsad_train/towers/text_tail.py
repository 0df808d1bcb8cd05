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
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from zsad_train.towers.attention import attend_behind, project_qkv
from zsad_train.towers.text import KeysValues, TextTower, finish_block, read_out

_HIDDEN = -1e4
"""Added to a score that the mask hides: far below any score, and half precision holds it."""


class TextTail(nn.Module):
    """A text tower behind constant prefixes; it shares nothing with the tower it is made of.

    Deep prompts that reach beyond the prefix overwrite tokens that it does not hold. Nothing that
    comes out of them depends on those tokens, so from the second block on they are prefix, too.
    Every text ends with its end-of-text token, and the last block computes what is read there: the
    ends of all branches, or the rows from the first end on.
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
        trunk: int = 0,
        branches: int | None = None,
        shared: TextTail | None = None,
    ) -> None:
        """Run the prefix once.

        Args:
            text: The tower; its parameters are copied.
            prefix: Token embeddings without positions, the start token at least: (p, width), or
                (n, p, width) for n prefixes that take turns.
            ends: Place of the end-of-text token behind the prefix, of each of n texts.
            deep_prompts: As in `TextTower.forward`.
            trunk: Tokens behind the prefix that the branches share.
            branches: Texts that go on from one trunk and end in one place; None is one text,
                without an axis of its own.
            shared: Another tail of the same tower, whose copies of its blocks are used too.

        Raises:
            ValueError: A deep prompt reaches an end-of-text token, or a trunk.
        """
        super().__init__()
        begin, last = prefix.shape[-2], max(ends)
        reach = max([begin, *(1 + len(deep) for deep in deep_prompts)])
        taken = reach - begin
        if taken > (min(ends) if branches is None else 0):
            met = "an end-of-text token" if branches is None else "a trunk"
            raise ValueError(f"deep prompts of {reach - 1} tokens reach {met}")
        place, mask = _tree(trunk, last + 1 - trunk, branches or 1)
        step = 1 if branches is None else last + 1 - trunk
        wanted = _wanted(text.depth, taken, slice(min(ends), None, step))
        self.blocks = nn.ModuleList(
            TailBlock(
                copy.deepcopy(block) if shared is None else shared.blocks[index].block,
                _first(keys_values, reach if index else begin),
                mask[taken:, taken:] if index else mask,
                wanted[index],
            )
            for index, (block, keys_values) in enumerate(
                zip(text.blocks, _seen(text, prefix, taken, deep_prompts), strict=True)
            )
        )
        self.ends = tuple(end - min(ends) for end in ends)
        self.ln_final = copy.deepcopy(text.ln_final)
        self.text_projection = copy.deepcopy(text.text_projection)
        self.register_buffer("positions", text.positional_embedding[begin + place].clone())
        self.branches = branches

    def forward(self, tails: Tensor) -> Tensor:
        """Return the features, not normalised, of what stands behind the prefix.

        Args:
            tails: (..., n, L, width). With a trunk of t and R branches L is t + R (L - t): the
                trunk, then the rest of every branch.

        Returns:
            (..., n, D), with branches (..., n, R, D).
        """
        tokens = (tails + self.positions).flatten(0, -3)
        for block in self.blocks:
            tokens = block(tokens)
        read = self._at_ends(tokens) if self.branches is None else tokens
        features = read_out(read, self.ln_final, self.text_projection)
        return features.reshape(*tails.shape[:-2], *features.shape[1:])

    def _at_ends(self, tokens: Tensor) -> Tensor:
        if not any(self.ends):
            return tokens[:, 0]
        rows = tokens.reshape(-1, len(self.ends), *tokens.shape[1:])  # (S / n, n, rows, width)
        return torch.stack([rows[:, i, end] for i, end in enumerate(self.ends)], 1).flatten(0, 1)


class TailBlock(nn.Module):
    """One block of the tower, its prefix baked."""

    key: Tensor
    value: Tensor
    mask: Tensor | None

    def __init__(
        self, block: ResidualAttentionBlock, prefix: KeysValues, mask: Tensor, wanted: slice
    ) -> None:
        """Take over `block` and bake what is constant in it.

        Args:
            block: The block.
            prefix: Keys and values ([n,] heads, p, d).
            mask: (L, L), added to the scores.
            wanted: Which tokens are computed; all are attended to.
        """
        super().__init__()
        self.block = block
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


def _seen(
    text: TextTower, prefix: Tensor, taken: int, deep_prompts: Sequence[Tensor]
) -> list[KeysValues]:
    """Return every block's keys and values ([n,] heads, p + taken, d) of the prefix.

    What stands behind it is overwritten before anything reads it.
    """
    padded = F.pad(prefix, (0, 0, 0, taken))
    if padded.dim() == 3:
        return text.run_blocks(padded, deep_prompts)[1]
    return [(key[0], value[0]) for key, value in text.run_blocks(padded[None], deep_prompts)[1]]


def _first(keys_values: KeysValues, count: int) -> KeysValues:
    key, value = keys_values
    return key[..., :count, :], value[..., :count, :]


def _wanted(depth: int, taken: int, ends: slice) -> list[slice]:
    """Return which of the tokens that enter each block leave it.

    The first block drops those that deep prompts take the place of, the last all but the ends.
    """
    wanted = [slice(taken or None, None), *[slice(None)] * (depth - 1)]
    entered_without = taken if depth > 1 else 0
    wanted[-1] = slice(ends.start - entered_without, None, ends.step)
    return wanted


def _tree(trunk: int, rest: int, branches: int) -> tuple[Tensor, Tensor]:
    """Return the place of each token behind the prefix, (L,), and who sees whom, (L, L)."""
    branch = torch.arange(branches).repeat_interleave(rest)
    branch = torch.cat([torch.full((trunk,), -1), branch])
    place = torch.arange(trunk + rest)
    place = torch.cat([place[:trunk], place[trunk:].repeat(branches)])
    seen = (branch[:, None] == branch) | (branch == -1)
    return place, torch.full(seen.shape, _HIDDEN).masked_fill(seen.tril(), 0)
