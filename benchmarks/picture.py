"""The picture of the README: frames of unseen classes beside their heat maps, from a real run.

    python benchmarks/picture.py demo-out/dive --out docs/images/unseen.jpg

The frames are the first of the test split, good and anomalous as they come: none is picked.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from zsad.command import Command

if TYPE_CHECKING:
    from zsad import Detector
    from zsad.types import ImageU8

GAP_PX = 6
COLUMNS = 4


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="JPEG file.")
@click.option("--data", default="synthetic", show_default=True, help="Data set to show.")
@click.option("--count", default=12, show_default=True, help="Pairs of frame and heat map.")
@click.option("--side", default=224, show_default=True, help="Side of each tile in pixels.")
def main(artifact: Path, out: Path, data: str, count: int, side: int) -> None:
    """Draw COUNT pairs of frame and heat map of an ARTIFACT's answers."""
    from zsad import Detector
    from zsad.overlay import encode_jpeg
    from zsad.schema import write_atomic

    with Detector.load(artifact) as detector:
        pairs = [judged_pair(detector, frame, side) for frame in first_frames(data, count)]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, encode_jpeg(sheet(pairs), quality=85))
    click.echo(f"{out}: the first {len(pairs)} of {data}")


def first_frames(spec: str, count: int) -> list[ImageU8]:
    """Return the first `count` frames of a data set's test split, good and anomalous."""
    from zsad.data import open_dataset

    dataset = open_dataset(spec)
    return [dataset[index].image_bgr for index in range(min(count, len(dataset)))]


def judged_pair(detector: Detector, frame_bgr: ImageU8, side: int) -> ImageU8:
    """Return the frame beside itself with its heat map, (side, 2 * side, 3) uint8 BGR."""
    import cv2
    import numpy as np

    from zsad.overlay import draw_heat

    heat = draw_heat(frame_bgr, detector.predict(frame_bgr))
    tiles = [cv2.resize(t, (side, side), interpolation=cv2.INTER_AREA) for t in (frame_bgr, heat)]
    return np.asarray(np.concatenate(tiles, axis=1), np.uint8)


def sheet(pairs: list[ImageU8]) -> ImageU8:
    """Return the pairs in rows of `COLUMNS` on white."""
    import numpy as np

    height, width = pairs[0].shape[:2]
    rows = -(-len(pairs) // COLUMNS)
    shape = (rows * (height + GAP_PX) - GAP_PX, COLUMNS * (width + GAP_PX) - GAP_PX, 3)
    canvas = np.full(shape, 255, np.uint8)
    for index, pair in enumerate(pairs):
        top = index // COLUMNS * (height + GAP_PX)
        left = index % COLUMNS * (width + GAP_PX)
        canvas[top : top + height, left : left + width] = pair
    return canvas


if __name__ == "__main__":
    main()
