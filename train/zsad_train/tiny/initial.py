"""Starting weights that save a small model from learning what is known about images."""

from __future__ import annotations

import math

import torch
from open_clip.model import CLIP
from torch import Tensor, nn

from zsad_train.tiny.config import TinyConfig
from zsad_train.tiny.stem import PATCH


@torch.no_grad()
def initialise(model: CLIP, config: TinyConfig) -> None:
    """Set positions to waves, attention to local contrast."""
    visual = model.visual
    grid = config.image_size // PATCH
    visual.positional_embedding[1:] = 0.5 * _wave_positions(grid, config.width)
    for block in visual.transformer.resblocks:
        _compare_with_neighbours(block.attn)


def _wave_positions(grid: int, width: int) -> Tensor:
    """Sines and cosines of row and column: (grid * grid, width)."""
    quarter = width // 4
    rate = math.pi / grid * 2 ** torch.linspace(0, 3, quarter)
    phase = torch.arange(grid)[:, None] * rate[None]  # (grid, quarter)
    axis = torch.cat([phase.sin(), phase.cos()], dim=1)  # (grid, width / 2)
    rows = axis[:, None].expand(grid, grid, -1)
    columns = axis[None].expand(grid, grid, -1)
    return torch.cat([rows, columns], dim=2).reshape(grid * grid, width)


def _compare_with_neighbours(attention: nn.MultiheadAttention) -> None:
    """Let tokens look at those like them in content and place, and subtract what they see.

    The structure that attention weights of trained vision transformers show (Trockman and Kolter
    2023, mimetic initialisation): query and key agree, value and output nearly cancel the input.
    What then is left of a patch is how it differs from its like.
    """
    width = attention.embed_dim
    basis = torch.linalg.qr(torch.randn(width, width))[0]
    looks = 0.8 * basis + 0.3 * torch.randn(2, width, width) / math.sqrt(width)
    values = torch.linalg.qr(torch.randn(width, width))[0]
    attention.in_proj_weight.copy_(torch.cat([*looks, 0.7 * values]))
    noise = 0.3 * torch.randn(width, width) / math.sqrt(width)
    attention.out_proj.weight.copy_(-0.5 * values.T + noise)
