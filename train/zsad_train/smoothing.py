"""Up-sampling and Gaussian smoothing of anomaly maps as two constant matrices.

Bilinear resizing and Gaussian filtering are both linear and separable, so together they are
`A m A^T` with one constant matrix per axis: two small products in the graph, where a runtime has
no border mode, kernel size or resize rule left to get wrong.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zsad.errors import InputError
from zsad_train.precision import KeepsFloat32

_TRUNCATE = 4.0
"""Kernel radius in sigmas, `scipy.ndimage.gaussian_filter`'s default."""


def upsample_blur_matrix(
    out_px: int, in_px: int, sigma: float, *, align_corners: bool = False
) -> npt.NDArray[np.float64]:
    """Return the matrix that resizes one axis bilinearly and then smooths it.

    It equals torch's bilinear resize (no antialias) followed by
    `scipy.ndimage.gaussian_filter(sigma)` with its defaults: truncated at 4 sigma, border mode
    `reflect`, which repeats the edge sample (numpy calls it symmetric; torch and ONNX padding
    modes of the name "reflect" do not).

    Args:
        out_px: Samples after the resize.
        in_px: Samples before it.
        sigma: Standard deviation of the Gaussian in output samples; 0 for no smoothing.
        align_corners: Whether the first and last samples fall on each other, as in torch.

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
    return _gaussian(out_px, sigma) @ _bilinear(out_px, in_px, align_corners)


def _bilinear(out_px: int, in_px: int, align_corners: bool) -> npt.NDArray[np.float64]:
    rows = np.arange(out_px)
    if align_corners:
        source = rows * ((in_px - 1) / max(1, out_px - 1))
    else:
        source = np.maximum((rows + 0.5) * in_px / out_px - 0.5, 0.0)
    left = np.minimum(source.astype(int), in_px - 1)
    right = np.minimum(left + 1, in_px - 1)
    matrix = np.zeros((out_px, in_px))
    np.add.at(matrix, (rows, left), 1.0 - (source - left))
    np.add.at(matrix, (rows, right), source - left)
    return matrix


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
        *,
        align_corners: bool = False,
    ) -> None:
        """Build the two matrices from `in_hw` to `out_hw` pixels, sigma in output pixels.

        Raises:
            InputError: A size below 1 or a negative sigma.
        """
        super().__init__()
        matrix = partial(upsample_blur_matrix, sigma=sigma, align_corners=align_corners)
        rows, columns = matrix(out_hw[0], in_hw[0]), matrix(out_hw[1], in_hw[1]).T
        self.register_buffer("rows", torch.tensor(rows, dtype=torch.float32), persistent=False)
        self.register_buffer(
            "columns", torch.tensor(columns, dtype=torch.float32), persistent=False
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the smoothed maps, (..., H, W) float32, of maps (..., h, w).

        Every value is a weighted mean, so maps in [0, 1] stay there up to float32 rounding.
        """
        return self.rows @ maps.float() @ self.columns
