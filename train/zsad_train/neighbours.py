"""Patches averaged with those around them, by which several methods steady what they compare."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def average_neighbours(patches: Tensor, grid_hw: tuple[int, int], window: int) -> Tensor:
    """Return patches (B, P, D), each the mean over a window around it; zeros beyond the border.

    Args:
        patches: (B, P, D) in raster order.
        grid_hw: Rows and columns.
        window: Side of the window, odd.
    """
    grid = patches.mT.reshape(-1, patches.shape[2], *grid_hw)  # (B, D, rows, cols)
    return F.avg_pool2d(grid, window, stride=1, padding=window // 2).flatten(2).mT
