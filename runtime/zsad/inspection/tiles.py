"""Tiling: a large frame cut into overlapping pieces, and their maps blended into one.

Each tile is resized to the graph's input as a whole frame would be. The maps are laid onto one
canvas at the scale they have, each weighted by a raised cosine across the overlap, so that what a
tile says near its own border, where it sees half of a thing, gives way to the neighbour that sees
all of it. The weights of the tiles over one pixel add up to 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
import numpy.typing as npt

from zsad.errors import InputError
from zsad.inspection.config import Tiles
from zsad.types import Array, ArrayF32, ImageU8

TILES_AT_ONCE = 4
"""Tiles in one run of the graph: what bounds its memory, and below an engine's usual batch."""

MAX_CANVAS_VALUES = 100_000_000
"""Values of a frame's blended maps, 400 MB: beyond it the tiles are too fine for the frame."""

_MAPS = ("anomaly_map", "type_map")


@dataclass(frozen=True)
class Span:
    """One tile in one direction.

    Attributes:
        start_px: First pixel in the frame.
        size_px: Pixels in the frame.
        at: First place on the canvas.
        weights: (S,) float32, the tile's share in each of its S places.
    """

    start_px: int
    size_px: int
    at: int
    weights: ArrayF32

    @property
    def frame(self) -> slice:
        """Where the tile lies in the frame."""
        return slice(self.start_px, self.start_px + self.size_px)

    @property
    def canvas(self) -> slice:
        """Where its map lies on the canvas."""
        return slice(self.at, self.at + self.weights.size)


@dataclass(frozen=True)
class Layout:
    """A frame's tiles: every row of tiles with every column."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @property
    def canvas_hw(self) -> tuple[int, int]:
        """Rows and columns of the blended map."""
        return self.rows[-1].canvas.stop, self.columns[-1].canvas.stop

    def batches(self) -> Iterator[list[tuple[Span, Span]]]:
        """Yield the tiles, a few at a time."""
        tiles = product(self.rows, self.columns)
        while batch := list(islice(tiles, TILES_AT_ONCE)):
            yield batch


def images_at_once(frames: int, tiles: Tiles | None) -> int:
    """Return how many images one run of the graph gets at most for so many frames."""
    return frames if tiles is None else TILES_AT_ONCE


def lay_out(tiles: Tiles, frame_hw: tuple[int, int], map_hw: tuple[int, int]) -> Layout:
    """Return the tiles that cover a frame, evenly spaced, with at least the overlap asked for.

    Args:
        tiles: Size and overlap.
        frame_hw: Rows and columns of the frame.
        map_hw: Rows and columns of the graph's map, onto which one tile comes.
    """
    return Layout(
        _spans(frame_hw[0], tiles.height_px, tiles.overlap_px, map_hw[0]),
        _spans(frame_hw[1], tiles.width_px, tiles.overlap_px, map_hw[1]),
    )


def crop(frame_bgr: ImageU8, tile: tuple[Span, Span]) -> ImageU8:
    """Return a tile's pixels of a frame, (H, W, 3) uint8 BGR, without copying them."""
    row, column = tile
    return frame_bgr[row.frame, column.frame]


class Blend:
    """The maps of one frame, growing tile by tile."""

    def __init__(self, layout: Layout) -> None:
        """Begin an empty canvas; its memory is taken with the first tiles."""
        self._layout = layout
        self._maps: dict[str, ArrayF32] = {}

    def add(self, batch: list[tuple[Span, Span]], outputs: Mapping[str, Array]) -> None:
        """Add the graph's answer about some tiles.

        Args:
            batch: The tiles, from `Layout.batches`.
            outputs: The graph's outputs; maps are (B, h, w), or (B, K, h, w) by type.

        Raises:
            InputError: The blended maps would take too much memory.
        """
        for name in _MAPS:
            if name not in outputs:
                continue
            canvas = self._canvas(name, outputs[name].shape[1:-2])
            for (row, column), tile_map in zip(batch, outputs[name], strict=True):
                share = np.outer(row.weights, column.weights)  # (h, w)
                canvas[..., row.canvas, column.canvas] += tile_map.astype(np.float32) * share

    @property
    def maps(self) -> dict[str, ArrayF32]:
        """The blended maps: `anomaly_map` (H, W) and, by type, `type_map` (K, H, W), in [0, 1]."""
        # Weights add up to 1 but for rounding, and a score of 1.0000001 would be none.
        return {name: np.minimum(canvas, 1, out=canvas) for name, canvas in self._maps.items()}

    def _canvas(self, name: str, leading: tuple[int, ...]) -> ArrayF32:
        if name not in self._maps:
            shape = (*leading, *self._layout.canvas_hw)
            if np.prod(shape, dtype=np.float64) > MAX_CANVAS_VALUES:
                raise InputError(
                    f"tiles: the blended map would be {'x'.join(map(str, shape))}, above"
                    f" {MAX_CANVAS_VALUES // 10**6} million values: use larger tiles"
                )
            self._maps[name] = np.zeros(shape, np.float32)
        return self._maps[name]


def _spans(length_px: int, tile_px: int, overlap_px: int, map_size: int) -> tuple[Span, ...]:
    size_px = min(tile_px, length_px)
    count = 1 if length_px <= size_px else -(-(length_px - overlap_px) // (size_px - overlap_px))
    starts = np.rint(np.linspace(0, length_px - size_px, count)).astype(int)
    at = np.rint(starts * (map_size / size_px)).astype(int)
    weights = _weights(at, map_size)
    return tuple(
        Span(int(start), size_px, int(place), weight)
        for start, place, weight in zip(starts, at, weights, strict=True)
    )


def _weights(at: npt.NDArray[np.int_], size: int) -> list[ArrayF32]:
    """Return each tile's weights: 1 where it is alone, raised cosines that cross in an overlap."""
    shares = np.ones((at.size, size))
    for index in range(at.size - 1):
        shared = int(at[index] + size - at[index + 1])
        # Places are cells: their centres lie half a step inside the overlap.
        rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(shared) + 0.5) / max(shared, 1))
        shares[index + 1, :shared] *= rise
        shares[index, size - shared :] *= 1 - rise
    total = np.zeros(int(at[-1]) + size)
    for place, share in zip(at, shares, strict=True):
        total[place : place + size] += share
    # Two tiles' shares add up to 1 by themselves; where three meet they must be made to.
    pairs = zip(at, shares, strict=True)
    return [np.asarray(share / total[p : p + size], np.float32) for p, share in pairs]
