"""What a defect scores on a seam between two tiles, beside what it scores in the middle of one.

    python benchmarks/seams.py demo-out/dive --json benchmarks/results/seams-dive-tiny.json

Generated textures with one small defect are mirrored to two tiles' width, so that the defect's
centre lies where the tiles meet, or in the middle of the first. Compared is the highest value of
the blended map within twelve pixels of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from options import json_option
from zsad.command import Command
from zsad.data import Sample
from zsad.detector import Detector
from zsad.types import ImageU8

SET = "synthetic-texture"
SHARES = (0.0, 0.125, 0.25, 0.5)
"""Overlap as a share of a tile."""
SMALL_PX = (40, 900)
"""Pixels of a small defect: enough to be seen, and smaller than any overlap but none."""
NEAR_PX = 12


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--defects", default=24, show_default=True, help="Defects to place.")
@json_option
def main(artifact: Path, defects: int, json_path: Path | None) -> None:
    """Judge each defect on the seam and in the middle, for several overlaps."""
    from zsad.schema import write_json

    samples = list(islice(_small_defects(), defects))
    with Detector.load(artifact, precision="fp32", backend="cpu") as detector:
        rows = [measure(detector, samples, share) for share in SHARES]
        record = {"artifact": detector.artifact.sha256, "defects": len(samples), "rows": rows}
    click.echo(table(rows))
    if json_path is not None:
        write_json(json_path, record)
        click.echo(str(json_path))


def measure(detector: Detector, samples: list[Sample], share: float) -> dict[str, Any]:
    """Return the mean peaks of the samples' defects with tiles that overlap by a share."""
    from zsad.inspection.config import Inspection, Tiles

    side = detector.artifact.manifest.preprocess.height
    overlap = round(share * side)
    tiles = Inspection(tiles=Tiles(side, side, overlap))
    tiled = Detector(detector.artifact, detector.backend, inspection=tiles)
    width = 2 * side - overlap
    seam = [_peak(tiled, sample, width, width // 2) for sample in samples]
    middle = [_peak(tiled, sample, width, side // 2) for sample in samples]
    means = {"seam": float(np.mean(seam)), "middle": float(np.mean(middle))}
    return {"overlap_px": overlap, "side_px": side, **means}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = ["| overlap of tiles | on the seam | in the middle |", "|---|---|---|"]
    for row in rows:
        overlap = f"{row['overlap_px']} of {row['side_px']} px"
        lines.append(f"| {overlap} | {row['seam']:.3f} | {row['middle']:.3f} |")
    return "\n".join(lines)


def _small_defects() -> Iterator[Sample]:
    from zsad.data import open_dataset

    dataset = open_dataset(SET)
    for sample in (dataset[index] for index in range(len(dataset))):
        if sample.label and sample.mask is not None:
            low, high = SMALL_PX
            if low < int(sample.mask.sum()) < high:
                yield sample


def _peak(detector: Detector, sample: Sample, width: int, column: int) -> float:
    assert sample.mask is not None
    row, centre = (int(places.mean()) for places in np.nonzero(sample.mask))
    result = detector.predict(_placed(sample.image_bgr, width, centre - column))
    rows = slice(max(0, row - NEAR_PX), row + NEAR_PX + 1)
    columns = slice(max(0, column - NEAR_PX), column + NEAR_PX + 1)
    return float(result.anomaly_map[rows, columns].max())


def _placed(frame_bgr: ImageU8, width: int, left: int) -> ImageU8:
    """Return `width` columns of the mirrored frame from column `left` on, which may be negative."""
    import cv2

    mirrored = cv2.copyMakeBorder(frame_bgr, 0, 0, width, width, cv2.BORDER_REFLECT_101)
    return np.asarray(mirrored[:, width + left : 2 * width + left], np.uint8)


if __name__ == "__main__":
    main()
