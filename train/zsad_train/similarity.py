"""From embeddings to probabilities: the two-class softmax over cosines, and its baked form.

Both run in float32 whatever the towers run in: at a temperature of 0.07 the rounding of half
precision would be visible in the score.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zsad_train.precision import KeepsFloat32

_TINY = 1e-30
"""Where a logarithm ends; a probability is only that small at a cosine's extremes."""


def unit(x: Tensor) -> Tensor:
    """Return `x` in float32 with rows of length 1; `F.normalize`'s eps is 0 in half precision."""
    return F.normalize(x.float(), dim=-1)


def mean_direction(embeddings: Tensor) -> Tensor:
    """Return the mean (..., D) float32 of embeddings (..., R, D) at length 1; it may be shorter."""
    return unit(embeddings).mean(dim=-2)


def cosine_logits(x: Tensor, text: Tensor, tau: float) -> Tensor:
    """Return cos(x, text) / tau, (..., K) float32, for x (..., D) and text (K, D).

    With one text per image, (B, K, D), x is (B, n, D).
    """
    with torch.autocast(x.device.type, enabled=False):
        return unit(x) @ unit(text).mT / tau


def pair_logit(x: Tensor, text: Tensor, tau: float) -> Tensor:
    """Return the logit of the abnormal state, (...,) float32: the cosines' difference over tau.

    Args:
        x: (..., D).
        text: (2, D), [normal, abnormal], or (B, 2, D), one pair per image of x (B, n, D).
        tau: Temperature of the softmax over the two states.
    """
    logits = cosine_logits(x, text, tau)
    return logits[..., 1] - logits[..., 0]


def adapted_logit(x: Tensor, text: Tensor, tau: float) -> Tensor:
    """Return `pair_logit` (B, n) of x (B, n, D) and a pair per image (B, 2, D), in one product."""
    states = unit(text)
    direction = (states[:, 1] - states[:, 0]) / tau  # (B, D)
    return (unit(x) @ direction[:, :, None]).squeeze(-1)


def mean_probability(logits: Sequence[Tensor], weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return the weighted mean of probabilities that are given as logits, and its own logit.

    Both sides of the logit are summed, since 1 minus a probability near 1 has lost its digits.

    Args:
        logits: Tensors (B,) float32.
        weights: One per tensor; they are divided by their sum.
    """
    shares = [weight / sum(weights) for weight in weights]
    terms = list(zip(shares, logits, strict=True))
    above = torch.stack([share * logit.sigmoid() for share, logit in terms]).sum(dim=0)
    below = torch.stack([share * (-logit).sigmoid() for share, logit in terms]).sum(dim=0)
    return above, probability_logit(above, below)


def probability_logit(above: Tensor, below: Tensor) -> Tensor:
    """Return the logit of a probability that is given with its complement, each with its digits."""
    return above.clamp_min(_TINY).log() - below.clamp_min(_TINY).log()


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


class SimilarityHead(KeepsFloat32):
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


class AdaptedHead(KeepsFloat32):
    """The same where only the normal text is constant and each image has an abnormal one."""

    normal: Tensor

    def __init__(self, normal: Tensor, tau: float) -> None:
        """Bake the normal text (D,) at temperature `tau`."""
        super().__init__()
        self.tau = tau
        self.register_buffer("normal", unit(normal.detach()) / tau)

    def forward(self, x: Tensor, abnormal: Tensor) -> Tensor:
        """Return the logits (B, n) float32 of x (B, n, D) against the abnormal text (B, D)."""
        direction = unit(abnormal) / self.tau - self.normal  # (B, D)
        return (unit(x) @ direction[:, :, None]).squeeze(-1)
