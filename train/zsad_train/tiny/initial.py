"""Starting weights that save a small model from learning what is known about images."""

from __future__ import annotations

import math

import torch
from open_clip.model import CLIP
from torch import Tensor, nn

from zsad_train.tiny.config import TinyConfig


@torch.no_grad()
def initialise(model: CLIP, config: TinyConfig) -> None:
    """Set patch filters to a cosine basis, positions to waves, attention to local contrast."""
    visual = model.visual
    visual.conv1.weight.copy_(_cosine_filters(config.width, config.patch_size))
    grid = config.image_size // config.patch_size
    visual.positional_embedding[1:] = 0.5 * _wave_positions(grid, config.width)
    for block in visual.transformer.resblocks:
        _compare_with_neighbours(block.attn)


def _cosine_filters(count: int, patch: int) -> Tensor:
    """The lowest `count` two-dimensional cosines: three in four see grey, the rest colour."""
    place = (torch.arange(patch) + 0.5) * math.pi / patch
    order = torch.arange(patch)
    basis = torch.cos(order[:, None] * place[None]) * math.sqrt(2 / patch)
    basis[0] /= math.sqrt(2)
    pairs = sorted(((u, v) for u in range(patch) for v in range(patch)), key=lambda p: sum(p))
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]])
    colours = colours / colours.norm(dim=1, keepdim=True)
    n_colour = count // 8
    wanted = [(count - 2 * n_colour, 0), (n_colour, 1), (n_colour, 2)]
    filters = [
        _gain(u + v, colour > 0) * torch.einsum("c,h,w->chw", colours[colour], basis[u], basis[v])
        for number, colour in wanted
        for u, v in pairs[:number]
    ]
    return torch.stack(filters) / math.sqrt(patch)


def _gain(frequency: int, is_colour: bool) -> float:
    """Brings the filter's answer to a typical image to a spread of about 1.

    Images hold little at high frequencies, and that little is what defects are made of: without
    this the first normalisation leaves nothing but the brightness of each patch. Fitted to the
    train split.
    """
    if is_colour:
        return 5.0 * (1 + frequency) if frequency else 1.0
    return (1 + frequency) ** 1.5 / 2.2 if frequency else 0.25


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
