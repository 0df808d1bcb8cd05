"""The one step outside the graph: an exact resize of the camera frame.

Everything else (cast, colour order, normalisation) is inside the graph, so that no runtime can get
it wrong. The resize is Pillow's antialiased bicubic, the training transform itself, rows first as
in every release before 13 (`zsad.resampling`); OpenCV's INTER_CUBIC does not antialias and is off
by up to 60 grey levels on fine texture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zsad.errors import InputError
from zsad.resampling import BILINEAR, resample
from zsad.schema import sha256_of
from zsad.types import ArrayBool, ImageU8

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

MAX_PIXELS = 64_000_000
"""Frames above this many pixels are refused: no line camera is larger, and a bomb is."""


@dataclass(frozen=True)
class PreprocessSpec:
    """How a frame becomes the graph's input, as data that travels with the artifact.

    Attributes:
        height: Rows of the graph's input, in pixels.
        width: Columns of the graph's input, in pixels.
        mean: Per-channel mean, RGB, of pixels scaled to [0, 1]; applied inside the graph.
        std: Per-channel standard deviation, RGB; applied inside the graph.
        resize: The resampling; `pillow-bicubic` is antialiased and squashes the aspect.
    """

    height: int
    width: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resize: Literal["pillow-bicubic"] = "pillow-bicubic"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise InputError(f"preprocess: size {self.height}x{self.width} is not positive")
        if min(self.std) <= 0:
            raise InputError(f"preprocess: std {self.std} must be positive")

    @property
    def sha256(self) -> str:
        """Identity of the preprocessing; a recipe is only good for the one it was made with."""
        return sha256_of(self)


def check_frame(frame_bgr: ImageU8) -> ImageU8:
    """Return the frame if it is one: (H, W, 3) uint8 BGR, neither empty nor absurdly large.

    Raises:
        InputError: Wrong type, shape or size.
    """
    if not isinstance(frame_bgr, np.ndarray) or frame_bgr.dtype != np.uint8:
        found = getattr(frame_bgr, "dtype", type(frame_bgr).__name__)
        raise InputError(f"frame must be a uint8 array, found {found}: scale it to 8 bits first")
    if frame_bgr.ndim != 3 or frame_bgr.shape[2] != 3:
        raise InputError(f"frame must be (H, W, 3) BGR, found shape {frame_bgr.shape}")
    height, width = frame_bgr.shape[:2]
    if height == 0 or width == 0:
        raise InputError(f"frame is empty: {height}x{width} pixels")
    if height * width > MAX_PIXELS:
        megapixels = height * width / 1e6
        raise InputError(f"frame has {megapixels:.0f} megapixels, limit {MAX_PIXELS // 10**6}")
    return frame_bgr


def resize_exact(frame_bgr: ImageU8, spec: PreprocessSpec, threads: int | None = None) -> ImageU8:
    """Resize a frame to the graph's input, bit-equal to the training transform.

    Args:
        frame_bgr: (H, W, 3) uint8, BGR. Each channel is resampled on its own, so the colour order
            does not matter and no channel swap is paid for.
        spec: The target size.
        threads: As `zsad.resampling.resample` takes them.

    Returns:
        (spec.height, spec.width, 3) uint8, BGR, contiguous.

    Raises:
        InputError: The frame is not a usable image.
    """
    check_frame(frame_bgr)
    if frame_bgr.shape[:2] == (spec.height, spec.width):
        return np.ascontiguousarray(frame_bgr)
    return resample(frame_bgr, spec.height, spec.width, threads=threads)


def resize_mask(mask: ArrayBool, height: int, width: int) -> ArrayBool:
    """Resize a defect mask as the literature's loaders do: bilinear, then above one half.

    Args:
        mask: (H, W) bool, True where defective.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        (height, width) bool.
    """
    if mask.shape == (height, width):
        return mask
    return np.asarray(resample(mask.astype(np.uint8) * 255, height, width, BILINEAR) > 127)
