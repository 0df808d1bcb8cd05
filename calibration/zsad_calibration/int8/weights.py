"""Symmetric INT8: a scale per output channel of a weight, and the arithmetic it stands for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zsad.types import ArrayF32
from zsad_calibration.int8.ranges import LEVELS

ArrayS8 = npt.NDArray[np.int8]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Int8Weight:
    """A weight as INT8 codes.

    Attributes:
        codes: Of the weight's shape, -127 to 127.
        scales: (out,), what one code is worth per output channel, in the weight's own float type.
    """

    codes: ArrayS8
    scales: Floats


def quantize_weight(weight: Floats, out_axis: int) -> Int8Weight:
    """Return the weight (in, out) or (out, in) as codes, each output channel to its own maximum."""
    in_axis = 1 - out_axis
    largest = np.abs(weight.astype(np.float32)).max(axis=in_axis)
    # Rounded to the graph's type before any code is chosen, so that the codes make up for it.
    scales = scale_of(largest, weight.dtype)
    wide = np.expand_dims(scales.astype(np.float32), in_axis)
    codes = np.clip(np.rint(weight.astype(np.float32) / wide), -LEVELS, LEVELS)
    return Int8Weight(codes.astype(np.int8), scales)


def scale_of(largest: npt.ArrayLike, dtype: npt.DTypeLike) -> Floats:
    """Return what one code is worth where the last stands for `largest`; never zero."""
    scales = (np.asarray(largest, np.float32) / LEVELS).astype(dtype)
    return np.asarray(np.where(scales > 0, scales, np.ones_like(scales)), dtype)


def as_quantized(rows: ArrayF32, largest: float) -> ArrayF32:
    """Return activations, of any shape, as INT8 would have them: rounded and clipped."""
    scale = scale_of(largest, np.float32)
    rounded: ArrayF32 = (np.clip(np.rint(rows / scale), -LEVELS - 1, LEVELS) * scale).astype(
        np.float32
    )
    return rounded


def weight_as_quantized(weight: Floats, out_axis: int) -> ArrayF32:
    """Return the weight as INT8 would have it, as (in, out) float32."""
    int8 = quantize_weight(weight, out_axis)
    wide = int8.codes.astype(np.float32) * np.expand_dims(
        int8.scales.astype(np.float32), 1 - out_axis
    )
    return inputs_first(wide, out_axis)


def inputs_first(weight: Floats, out_axis: int) -> ArrayF32:
    """Return the weight as (in, out) float32."""
    ordered: ArrayF32 = (weight if out_axis == 1 else weight.T).astype(np.float32)
    return ordered
