"""Checks and conversions that every metric starts with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from zsad.errors import InputError

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]


def as_floats(scores: npt.ArrayLike) -> Floats:
    """Return float32 or float64 as it is, anything else that is real as one of them.

    Raises:
        InputError: The scores are not real numbers, or items of different sizes.
    """
    values = _as_array(scores, "scores")
    if values.dtype.kind == "f" and values.dtype.itemsize <= 8:
        # Files may bring the other byte order.
        return values.astype(
            {2: np.float32, 4: np.float32, 8: np.float64}[values.itemsize], copy=False
        )
    if values.dtype.kind in "biu":
        return values.astype(np.float64)
    raise InputError(f"scores must be real numbers, found {values.dtype}")


def as_bool(labels: npt.ArrayLike) -> Bools:
    """Return labels as bool.

    Raises:
        InputError: A label is neither 0 nor 1.
    """
    truth = _as_array(labels, "labels")
    if truth.dtype == np.bool_:
        return truth
    if not np.isin(truth, (0, 1)).all():
        raise InputError("labels must be 0 (normal) or 1 (anomalous)")
    return truth.astype(np.bool_)


def as_maps(maps: npt.ArrayLike, masks: npt.ArrayLike) -> tuple[Floats, Bools]:
    """Return maps and masks, both (N, H, W), neither copied if of the right type already.

    Raises:
        InputError: Shapes differ, there is no pixel, or the masks are not bool.
    """
    values, truth = as_floats(maps), _as_array(masks, "masks")
    if values.ndim != 3 or values.shape != truth.shape:
        raise InputError(
            f"maps and masks must both be (N, H, W), found {values.shape} and {truth.shape}"
        )
    if truth.dtype != np.bool_:
        raise InputError(f"masks must be bool, found {truth.dtype}: use mask > 0")
    if values.size == 0:
        raise InputError(f"maps must hold at least one pixel, found {values.shape}")
    return values, truth


def _as_array(values: npt.ArrayLike, what: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError:
        raise InputError(f"{what} must be of one size, found several") from None


def score_range(maps: Floats) -> tuple[float, float]:
    """Return the lowest and the highest score.

    Raises:
        InputError: A score is NaN or infinite.
    """
    low, high = float(maps.min()), float(maps.max())
    if not np.isfinite([low, high]).all():
        raise InputError("a score is NaN or infinite: nothing can be ranked")
    return low, high
