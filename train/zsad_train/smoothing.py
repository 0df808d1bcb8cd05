"""Up-sampling and Gaussian smoothing of anomaly maps as two constant matrices.

Bilinear or nearest resizing and Gaussian filtering are linear and separable, so together they are
`A m A^T` with one constant matrix per axis: two small products in the graph, where a runtime has
no border mode, kernel size or resize rule left to get wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from zsad.errors import InputError
from zsad_train.precision import KeepsFloat32

Upsampling = Literal["bilinear", "aligned", "nearest"]
"""How patch values become pixels, as torch resizes without antialias; `aligned` is bilinear with
the first and the last samples of both sizes on each other."""

_TRUNCATE = 4.0
"""Kernel radius in sigmas, `scipy.ndimage.gaussian_filter`'s default."""


def upsample_blur_matrix(
    out_px: int, in_px: int, sigma: float, upsampling: Upsampling = "bilinear"
) -> npt.NDArray[np.float64]:
    """Return the matrix that resizes one axis and then smooths it.

    It equals torch's resize of that name followed by
    `scipy.ndimage.gaussian_filter(sigma)` with its defaults: truncated at 4 sigma, border mode
    `reflect`, which repeats the edge sample (numpy calls it symmetric; torch and ONNX padding
    modes of the name "reflect" do not).

    Args:
        out_px: Samples after the resize.
        in_px: Samples before it.
        sigma: Standard deviation of the Gaussian in output samples; 0 for no smoothing.
        upsampling: How the axis is resized.

    Returns:
        (out_px, in_px) float64; every row sums to 1.

    Raises:
        InputError: A size below 1 or a negative sigma.
    """
    if out_px < 1 or in_px < 1 or not 0 <= sigma < np.inf:
        raise InputError(
            f"cannot smooth {in_px} -> {out_px} px with sigma {sigma}: use sizes of "
            "at least 1 and a finite sigma of at least 0"
        )
    return _gaussian(out_px, sigma) @ _resize(out_px, in_px, upsampling)


def _resize(out_px: int, in_px: int, upsampling: Upsampling) -> npt.NDArray[np.float64]:
    rows = np.arange(out_px)
    if upsampling == "nearest":
        return np.eye(in_px)[rows * in_px // out_px]
    if upsampling == "aligned":
        source = rows * ((in_px - 1) / max(1, out_px - 1))
    else:
        source = np.maximum((rows + 0.5) * in_px / out_px - 0.5, 0.0)
    left = np.minimum(source.astype(int), in_px - 1)
    right = np.minimum(left + 1, in_px - 1)
    matrix = np.zeros((out_px, in_px))
    np.add.at(matrix, (rows, left), 1.0 - (source - left))
    np.add.at(matrix, (rows, right), source - left)
    return matrix


def upsample(grid: Tensor, size_hw: Sequence[int], upsampling: Upsampling) -> Tensor:
    """Resize maps (B, C, h, w) to (B, C, H, W) as `UpsampleBlur` does, without smoothing."""
    if upsampling == "aligned":
        return F.interpolate(grid, size=size_hw, mode="bilinear", align_corners=True)
    return F.interpolate(grid, size=size_hw, mode=upsampling)


def _gaussian(size_px: int, sigma: float) -> npt.NDArray[np.float64]:
    radius = int(_TRUNCATE * sigma + 0.5)
    if radius == 0:
        return np.eye(size_px)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    # Folding by the period of the mirrored signal also holds where the kernel outgrows it.
    reached = (np.arange(size_px)[:, None] + offsets) % (2 * size_px)
    reached = np.minimum(reached, 2 * size_px - 1 - reached)
    matrix = np.zeros((size_px, size_px))
    np.add.at(matrix, (np.arange(size_px)[:, None], reached), kernel / kernel.sum())
    return matrix


class UpsampleBlur(KeepsFloat32):
    """Resizes maps to (H, W) and smooths them; a half-precision Gaussian no longer sums to 1.

    Attributes:
        rows: (H, h) float32 matrix of the vertical axis.
        columns: (w, W) float32 matrix of the horizontal axis, transposed.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        in_hw: tuple[int, int],
        out_hw: tuple[int, int],
        sigma: float,
        upsampling: Upsampling = "bilinear",
    ) -> None:
        """Build the two matrices from `in_hw` to `out_hw` pixels, sigma in output pixels.

        Raises:
            InputError: A size below 1 or a negative sigma.
        """
        super().__init__()
        rows = upsample_blur_matrix(out_hw[0], in_hw[0], sigma, upsampling)
        columns = upsample_blur_matrix(out_hw[1], in_hw[1], sigma, upsampling).T
        self.register_buffer("rows", torch.tensor(rows, dtype=torch.float32), persistent=False)
        self.register_buffer(
            "columns", torch.tensor(columns, dtype=torch.float32), persistent=False
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the smoothed maps, (..., H, W) float32, of maps (..., h, w).

        Every value is a weighted mean, so maps in [0, 1] stay there up to float32 rounding.
        """
        return self.rows @ maps.float() @ self.columns
