"""Regions of interest: read from a file, and rasterised to the size of a map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zsad.errors import InputError
from zsad.inspection.config import Polygon, Roi
from zsad.schema import from_json, read_json
from zsad.types import ArrayBool


@dataclass(frozen=True)
class RoiFile:
    """What a file of polygons may hold.

    Attributes:
        include: Polygons of what is judged; none for the whole frame.
        ignore: Polygons of what is not.
        size_px: Width and height of the picture they were drawn on, where points are pixels; None
            where they are shares of width and height.
    """

    include: tuple[Polygon, ...] = ()
    ignore: tuple[Polygon, ...] = ()
    size_px: tuple[int, int] | None = None


def read_roi(path: str | Path) -> Roi:
    """Read a file of polygons: `{"include": [[[x, y], ...]], "ignore": [], "size_px": [W, H]}`.

    Raises:
        InputError: It is missing, no JSON, or a polygon is none or leaves the frame.
    """
    found = from_json(RoiFile, read_json(Path(path), "ROI"), str(path))
    width, height = found.size_px or (1, 1)
    if min(width, height) < 1:
        raise InputError(f"{path}: size_px {width}x{height} is no size of a picture")

    def shares(polygons: tuple[Polygon, ...]) -> tuple[Polygon, ...]:
        return tuple(tuple((x / width, y / height) for x, y in polygon) for polygon in polygons)

    try:
        return Roi(shares(found.include), shares(found.ignore))
    except InputError as error:
        hint = "" if found.size_px else ' (pixels need "size_px": [width, height])'
        raise InputError(f"{path}: {error}{hint}") from None


@lru_cache(maxsize=4)
def rasterise(roi: Roi, height: int, width: int) -> ArrayBool:
    """Return which pixels of a map of this size are judged: those whose centre is in the region.

    Args:
        roi: The region.
        height: Rows of the map.
        width: Columns of the map.

    Returns:
        (height, width) bool, read-only: it is made once for each size.

    Raises:
        InputError: No pixel's centre is in the region.
    """
    judged = np.full((height, width), not roi.include)
    for polygon in roi.include:
        judged |= _inside(polygon, height, width)
    for polygon in roi.ignore:
        judged &= ~_inside(polygon, height, width)
    if not judged.any():
        raise InputError(f"roi: it leaves no pixel of a map of {width}x{height}: draw it larger")
    judged.setflags(write=False)
    return judged


def _inside(polygon: Polygon, height: int, width: int) -> ArrayBool:
    """Even-odd rule at pixel centres: a centre is inside if an odd number of edges lies left."""
    points = np.asarray(polygon, np.float64) * (width, height)  # (P, 2)
    # One column more takes the edges to the right of every centre.
    crossings: npt.NDArray[np.uint8] = np.zeros((height, width + 1), np.uint8)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        # Half-open, so that a corner on a centre's row counts once.
        first, last = np.ceil(min(y0, y1) - 0.5), np.ceil(max(y0, y1) - 0.5)
        rows = np.arange(max(0, int(first)), min(height, int(last)))
        x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.intp)
        crossings[rows, columns] ^= 1
    return np.asarray(np.bitwise_xor.accumulate(crossings, axis=1)[:, :width], bool)
