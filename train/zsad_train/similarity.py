"""From embeddings to probabilities: the two-class softmax over cosines, and its baked form.

Both run in float32 whatever the towers run in: at a temperature of 0.07 the rounding of half
precision would be visible in the score.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def unit(x: Tensor) -> Tensor:
    """Return `x` in float32 with rows of length 1; `F.normalize`'s eps is 0 in half precision."""
    return F.normalize(x.float(), dim=-1)


def cosine_logits(x: Tensor, text: Tensor, tau: float) -> Tensor:
    """Return cos(x, text) / tau, (..., K) float32, for x (..., D) and text (K, D)."""
    with torch.autocast(x.device.type, enabled=False):
        return unit(x) @ unit(text).T / tau


def abnormal_grid(patches: Tensor, text: Tensor, tau: float, grid_hw: tuple[int, int]) -> Tensor:
    """Return the probability of the abnormal state, (B, rows, cols) float32.

    Args:
        patches: (B, rows * cols, D) in raster order.
        text: (2, D), [normal, abnormal].
        tau: Temperature of the softmax.
        grid_hw: (rows, cols).
    """
    abnormal = cosine_logits(patches, text, tau).softmax(dim=-1)[..., 1]
    return abnormal.reshape(-1, *grid_hw)


class SimilarityHead(nn.Module):
    """The logit of the abnormal state for a pair of constant text embeddings.

    softmax([c_n, c_a] / tau)[1] = sigmoid((c_a - c_n) / tau), and a difference of cosines is one
    product with the difference of the unit text embeddings, into which 1/tau is folded.
    """

    direction: Tensor

    def __init__(self, text: Tensor, tau: float) -> None:
        """Bake `text` (2, D), [normal, abnormal], at temperature `tau`."""
        super().__init__()
        normal, abnormal = unit(text.detach())
        self.register_buffer("direction", ((abnormal - normal) / tau)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (...,) float32 of x (..., D), any float type, any length."""
        return (unit(x) @ self.direction).squeeze(-1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SimilarityHead:
        exact = self.direction
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.direction = exact.to(self.direction.device)  # `.half()` must not round it
        return self
