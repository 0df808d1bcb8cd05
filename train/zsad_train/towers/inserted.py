"""Learned tokens that stand in a sequence beside its own, renewed at the input of every block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class InsertedTokens:
    """One set of tokens per block; a block's set still carries a share of what the last one became.

    The tokens make the sequence longer and have no position (DAPO's progressive tuning).

    Attributes:
        sets: (depth, k, width).
        carried: Share, in [0, 1], of what left the block before; the rest is the block's own set.
    """

    sets: Tensor
    carried: float

    @property
    def count(self) -> int:
        """Tokens k that a sequence gets."""
        return self.sets.shape[1]

    def enter(self, block: int, tokens: Tensor, at: int) -> Tensor:
        """Return the tokens (B, L + k, width) that enter a block.

        Args:
            block: Its 0-based index.
            tokens: (B, L, width) for the first block, (B, L + k, width) for the others.
            at: Position of the first inserted token.
        """
        own = self.sets[block].to(tokens.dtype).expand(tokens.shape[0], -1, -1)  # (B, k, width)
        if block == 0:
            return torch.cat([tokens[:, :at], own, tokens[:, at:]], dim=1)
        after = at + self.count
        blend = self.carried * tokens[:, at:after] + (1 - self.carried) * own
        return torch.cat([tokens[:, :at], blend, tokens[:, after:]], dim=1)
