"""Loss terms of the CLIP-prompting family; each is a plain mean with no weight of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zsad_train.smoothing import Upsampling, upsample

_FOCAL_SMOOTH = 1e-5
_DICE_SMOOTH = 1.0


def segmentation_loss(
    probability: Tensor, mask: Tensor, gamma: float = 2.0, *, normal_dice: bool = True
) -> Tensor:
    """Return focal + dice of the abnormal channel + dice of the normal one (DIVE section 4.4).

    Args:
        probability: (B, H, W) float32 in [0, 1], that a pixel is abnormal; normal is 1 minus it.
        mask: (B, H, W) float32, 1 on defects.
        gamma: Focusing exponent of the focal term.
        normal_dice: Whether the last term is one of them; MRAD's retrieval has none.
    """
    loss = focal_loss(probability, mask, gamma) + dice_loss(probability, mask)
    return loss + dice_loss(1 - probability, 1 - mask) if normal_dice else loss


def grid_segmentation_loss(
    grid: Tensor,
    mask: Tensor,
    has_mask: Tensor,
    gamma: float = 2.0,
    upsampling: Upsampling = "bilinear",
    *,
    normal_dice: bool = True,
) -> Tensor:
    """Return `segmentation_loss` of patch probabilities, brought to the masks' size.

    Args:
        grid: (B, rows, cols) float32 in [0, 1], that a patch is abnormal.
        mask: (B, H, W) float32, 1 on defects.
        has_mask: (B,) bool; images without pixel labels do not enter. With none left the loss is
            0, and still has a gradient.
        gamma: Focusing exponent of the focal term.
        upsampling: How patches become pixels.
        normal_dice: As in `segmentation_loss`.
    """
    if not has_mask.any():
        return grid.sum() * 0
    full = upsample(grid[:, None], mask.shape[-2:], upsampling)[:, 0]
    return segmentation_loss(full[has_mask], mask[has_mask], gamma, normal_dice=normal_dice)


def focal_loss(probability: Tensor, mask: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the mean of -(1 - p_t)^gamma log p_t over all pixels, p_t that of the true class.

    The target is smoothed by 1e-5 and p_t raised by as much, as the family's code does it.
    """
    target = mask.clamp(_FOCAL_SMOOTH, 1 - _FOCAL_SMOOTH)
    p_true = target * probability + (1 - target) * (1 - probability) + _FOCAL_SMOOTH
    # Rounding can put p_t above 1, and a negative base has no real power.
    return -((1 - p_true).clamp_min(0) ** gamma * p_true.log()).mean()


def type_focal_loss(probability: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Return `focal_loss` over more classes than two.

    What smoothing takes from the true class it gives to the others in equal parts.

    Args:
        probability: (B, C, H, W) float32 that sums to 1 over the classes.
        target: (B, H, W) int64, the class of every pixel.
        gamma: Focusing exponent.
    """
    true = probability.gather(1, target[:, None])[:, 0]  # (B, H, W)
    others = _FOCAL_SMOOTH / (probability.shape[1] - 1) * (1 - true)
    p_true = (1 - _FOCAL_SMOOTH) * true + others + _FOCAL_SMOOTH
    return -((1 - p_true).clamp_min(0) ** gamma * p_true.log()).mean()


def binary_focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the mean of (1 - p_t)^gamma times the cross-entropy of logits (B,), labels 0 or 1."""
    loss = F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    return ((1 - (-loss).exp()) ** gamma * loss).mean()


def dice_loss(probability: Tensor, mask: Tensor) -> Tensor:
    """Return 1 - (2 sum pg + 1) / (sum p + sum g + 1), taken per image, then the mean."""
    p, g = probability.flatten(1), mask.flatten(1)
    overlap = 2 * (p * g).sum(dim=1) + _DICE_SMOOTH
    return (1 - overlap / (p.sum(dim=1) + g.sum(dim=1) + _DICE_SMOOTH)).mean()


def squared_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean over rows of cos(a, b)^2: 0 where the rows (B, D) are orthogonal."""
    return F.cosine_similarity(a, b, dim=-1).square().mean()


def pairwise_cosine(embeddings: Tensor) -> Tensor:
    """Return the sum of |cos| over all pairs of rows of (n, D), as FAPrompt keeps prompts apart."""
    unit = F.normalize(embeddings, dim=-1)
    first, second = torch.triu_indices(len(unit), len(unit), offset=1, device=unit.device)
    return (unit[first] * unit[second]).sum(dim=-1).abs().sum()
