"""Input size: which ones a patch size allows, and the position table that fits one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from zsad.errors import InputError

PosResize = Literal["bicubic-antialias", "bilinear"]
"""How a position table is resized: as open_clip does, or as the AnomalyCLIP family does."""


def as_hw(size: int | Sequence[int]) -> tuple[int, int]:
    """Return (height, width) of a size given as one side or as both."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def grid_for(image_hw: tuple[int, int], patch_px: int) -> tuple[int, int]:
    """Return the patch grid (rows, columns) of an input of `image_hw` pixels.

    Raises:
        InputError: A side is not a positive multiple of the patch; the line names the nearest.
    """
    for side_px in image_hw:
        if side_px < patch_px or side_px % patch_px:
            below = max(patch_px, side_px // patch_px * patch_px)
            nearest = " or ".join(str(s) for s in sorted({below, below + patch_px}))
            raise InputError(
                f"image size {side_px} is not a multiple of the {patch_px} px patch: use {nearest}"
            )
    return image_hw[0] // patch_px, image_hw[1] // patch_px


def square_grid(table: Tensor) -> tuple[int, int]:
    """Return the grid (side, side) of a stored table (1 + side * side, width).

    Raises:
        InputError: The number of patch rows is no square.
    """
    side = math.isqrt(table.shape[0] - 1)
    if side * side != table.shape[0] - 1:
        raise InputError(
            f"the position table has {table.shape[0]} rows, which is not 1 + a square grid: "
            "these are not the weights of a CLIP vision transformer with a CLS token"
        )
    return side, side


def resize_positions(
    table: Tensor, old_grid: tuple[int, int], new_grid: tuple[int, int], mode: str
) -> Tensor:
    """Resize a position table to another patch grid; the CLS row is kept.

    Args:
        table: (1 + rows * columns, width) float, CLS first, patches in raster order.
        old_grid: (rows, columns) of `table`.
        new_grid: (rows, columns) wanted.
        mode: A `PosResize`.

    Returns:
        (1 + new rows * new columns, width); the table itself where the grids are equal.

    Raises:
        InputError: `mode` is unknown.
    """
    if mode not in get_args(PosResize):
        known = " or ".join(get_args(PosResize))
        raise InputError(f"unknown position resize '{mode}': use {known}")
    if old_grid == new_grid:
        return table
    patches = table[1:].reshape(1, *old_grid, -1).permute(0, 3, 1, 2)  # (1, width, rows, columns)
    resized = F.interpolate(
        patches.float(),
        size=new_grid,
        mode="bicubic" if mode == "bicubic-antialias" else "bilinear",
        antialias=mode == "bicubic-antialias",
        align_corners=False,
    )
    return torch.cat([table[:1], resized.flatten(2)[0].T.to(table.dtype)])
