"""What is set about an inspection: region, tiles, debounce, and the views of a part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from zsad.errors import InputError
from zsad.schema import sha256_of

Point = tuple[float, float]
Polygon = tuple[Point, ...]

ASPECT_TOLERANCE = 0.01
"""A frame this much wider or narrower than the one a region was drawn on shows something else."""


@dataclass(frozen=True)
class Roi:
    """The region of a frame that is judged, in shares of its width and height.

    Shares survive a change of the camera's resolution, which pixels would not.

    Attributes:
        include: Polygons of points (x, y) in [0, 1], x to the right and y down; what lies in any of
            them is judged. None means the whole frame.
        ignore: Polygons of what is not judged, wherever it lies.
    """

    include: tuple[Polygon, ...] = ()
    ignore: tuple[Polygon, ...] = ()

    def __post_init__(self) -> None:
        if not (self.include or self.ignore):
            raise InputError("roi: it has no polygon: leave it out to judge the whole frame")
        for polygon in (*self.include, *self.ignore):
            _check_polygon(polygon)
        # The identity of a region must not depend on whether a corner was written as 0 or 0.0.
        object.__setattr__(self, "include", tuple(map(_as_floats, self.include)))
        object.__setattr__(self, "ignore", tuple(map(_as_floats, self.ignore)))


@dataclass(frozen=True)
class Tiles:
    """Pieces that a large frame is cut into, in the frame's own pixels.

    Attributes:
        height_px: Rows of a tile; a frame with fewer is taken whole in that direction.
        width_px: Columns of a tile, likewise.
        overlap_px: The least that neighbours share. A defect up to this size lies whole in one.
    """

    height_px: int
    width_px: int
    overlap_px: int

    def __post_init__(self) -> None:
        side = min(self.height_px, self.width_px)
        if side < 1:
            raise InputError(f"tiles: {self.height_px}x{self.width_px} px is no size")
        if not 0 <= self.overlap_px <= side // 2:
            raise InputError(
                f"tiles: an overlap of {self.overlap_px} px does not suit tiles of"
                f" {self.height_px}x{self.width_px} px: use 0 to {side // 2}"
            )


@dataclass(frozen=True)
class Inspection:
    """Region and tiles together with the frame that they were calibrated on.

    Attributes:
        roi: Region; None for the whole frame.
        tiles: Tiles; None for a frame in one piece.
        frame_hw: Rows and columns of the frames of the good parts; None where nothing depends on
            them, or while they are not known.
    """

    roi: Roi | None = None
    tiles: Tiles | None = None
    frame_hw: tuple[int, int] | None = None

    @property
    def needs_map(self) -> bool:
        """Whether the graph's own score, which is about its whole input, says nothing here."""
        return self.roi is not None or self.tiles is not None

    @property
    def sha256(self) -> str | None:
        """Identity that a calibration is bound to; None for whole frames in one piece."""
        return sha256_of(self) if self.needs_map else None

    def misfit(self, height: int, width: int) -> str | None:
        """Return why a frame of this size cannot be judged, None where it can.

        A tile shows a part at the scale of the frame's pixels, so tiles want the same size; a
        region wants the same shape.
        """
        if self.frame_hw is None or (height, width) == self.frame_hw:
            return None
        rows, columns = self.frame_hw
        if self.tiles is not None:
            what = "tiles"
        elif abs(width * rows / (height * columns) - 1) > ASPECT_TOLERANCE:
            what = "a region"
        else:
            return None
        return (
            f"the frame is {width}x{height}, the recipe's good parts with {what} are"
            f" {columns}x{rows}: set the camera as it was, or run zsad-calibrate"
        )


WHOLE_FRAME = Inspection()
"""No region and no tiles."""


@dataclass(frozen=True)
class DebounceConfig:
    """How a free-running camera's verdict is kept from flickering.

    Attributes:
        hysteresis: Share of the threshold by which a score must fall below it before a camera that
            said NG says OK again, in [0, 1).
        ng_frames: Frames above the threshold that make an NG.
        of_frames: Latest frames among which they are counted.
        forget_after_s: A pause in the camera's frames after which those before it count no more.
    """

    hysteresis: float = 0.0
    ng_frames: int = 1
    of_frames: int = 1
    forget_after_s: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.hysteresis < 1:
            raise InputError(f"debounce: hysteresis {self.hysteresis} is not in [0, 1)")
        if not 1 <= self.ng_frames <= self.of_frames <= 100:
            raise InputError(
                f"debounce: {self.ng_frames} of {self.of_frames} frames is no rule:"
                " use 1 <= ng_frames <= of_frames <= 100"
            )
        if not (math.isfinite(self.forget_after_s) and self.forget_after_s > 0):
            raise InputError(f"debounce: forget_after_s {self.forget_after_s} must be positive")


@dataclass(frozen=True)
class PartConfig:
    """The views that make a part, and how long they are waited for.

    Attributes:
        views: Frames that each part needs, by camera. They are counted per camera, since a second
            frame of one cannot stand in for another that is blind.
        takt_s: Seconds from the trigger to the verdict, at the latest.
        remembered: Told parts whose late views are still recognised.
    """

    views: Mapping[str, int]
    takt_s: float
    remembered: int = 1000

    def __post_init__(self) -> None:
        if not self.views:
            raise InputError("part: no camera has a view of it: name each with its frames")
        for camera, count in self.views.items():
            if count < 1:
                raise InputError(f"part: {count} views of camera '{camera}': use 1 or more")
        if not (math.isfinite(self.takt_s) and self.takt_s > 0):
            raise InputError(f"part: takt_s {self.takt_s} must be positive")
        if self.remembered < 1:
            raise InputError(f"part: remembered {self.remembered} must be 1 or more")


def _as_floats(polygon: Polygon) -> Polygon:
    return tuple((float(x), float(y)) for x, y in polygon)


def _check_polygon(polygon: Polygon) -> None:
    if len(polygon) < 3:
        raise InputError(
            f"roi: a polygon of {len(polygon)} points encloses nothing: give 3 or more"
        )
    for x, y in polygon:
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise InputError(f"roi: point ({x:g}, {y:g}) is outside the frame: use [0, 1]")
