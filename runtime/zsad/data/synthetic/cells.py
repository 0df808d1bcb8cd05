"""Surfaces broken into cells, and palettes to colour them with."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from zsad.data.synthetic.colours import hsv, random_colour
from zsad.types import ArrayF32

_TABLE_SIDE = 97  # prime, so that no lattice falls into step with it


@dataclass(frozen=True)
class Cells:
    """An irregular division of the image: stones, dimples, chips.

    Attributes:
        label: (S, S) int32, the cell of each pixel.
        depth: (S, S) float32, distance to the cell's border in pixels.
        dx: (S, S) float32, distance right of the cell's centre, 1 at about its border.
        dy: (S, S) float32, the same downwards.
    """

    label: npt.NDArray[np.int32]
    depth: ArrayF32
    dx: ArrayF32
    dy: ArrayF32

    def of_each(self, values: ArrayF32) -> ArrayF32:
        """Spread values (n,) or colours (n, 3) over the cells, again from the first after n."""
        return np.asarray(values[self.label % len(values)], np.float32)


def scatter(rng: np.random.Generator, size: int, across: float) -> Cells:
    """About `across` cells per image side around jittered centres."""
    count = max(round(across), 2)
    corner = np.indices((count, count)).reshape(2, -1)
    seeds = ((corner + rng.uniform(0.05, 0.95, corner.shape)) * size / count).astype(np.int32)
    layer = np.ones((size, size), np.uint8)
    layer[seeds[0], seeds[1]] = 0
    _, label = cv2.distanceTransformWithLabels(
        layer, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    centre = np.zeros((2, int(label.max()) + 1), np.float32)
    centre[:, label[seeds[0], seeds[1]]] = seeds
    border = (label != np.roll(label, 1, 0)) | (label != np.roll(label, 1, 1))
    depth = cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, 3)
    axis = np.arange(size, dtype=np.float32)
    reach = np.float32(0.5 * size / count)
    return Cells(
        label=np.asarray(label, np.int32),
        depth=np.asarray(depth, np.float32),
        dx=(axis[None] - centre[1][label]) / reach,
        dy=(axis[:, None] - centre[0][label]) / reach,
    )


def grid_tones(rng: np.random.Generator, column: ArrayF32, row: ArrayF32) -> ArrayF32:
    """One random number in [-1, 1] for each unit square of two fields (S, S)."""
    table = rng.uniform(-1, 1, (_TABLE_SIDE, _TABLE_SIDE)).astype(np.float32)
    columns, rows = np.floor(column).astype(np.int32), np.floor(row).astype(np.int32)
    return np.asarray(table[rows % _TABLE_SIDE, columns % _TABLE_SIDE], np.float32)


def palette(rng: np.random.Generator, count: int) -> ArrayF32:
    """Colours that go together, (count, 3) BGR: shades of one hue, greys, or all free."""
    style, hue = rng.random(), rng.uniform(0, 360)
    if style < 0.4:
        colours = [
            hsv(hue + rng.normal(0, 12), rng.uniform(0.1, 0.6), rng.uniform(0.2, 0.9))
            for _ in range(count)
        ]
    elif style < 0.6:
        colours = [
            random_colour(rng, saturation=(0, 0.08), value=(0.1, 0.95)) for _ in range(count)
        ]
    else:
        colours = [random_colour(rng, value=(0.15, 0.95)) for _ in range(count)]
    return np.stack(colours).astype(np.float32)
