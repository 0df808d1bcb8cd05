"""Our INT8 against what others make of the same graph: parity, size, speed, who compiles it.

    python benchmarks/int8.py dive/ --nncf-python NNCF/bin/python --modelopt-python MO/bin/python

All quantizers get the same calibration frames, and their graphs the same held-out ones. NNCF and
ModelOpt bring packages that do not live beside ours, so each runs in an environment of its own;
one that is not given, or fails, says so in its row.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from options import json_option
from zsad.command import Command

if TYPE_CHECKING:
    from int8_measure import Row


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--calib", metavar="DIR|SPEC", help="Frames to calibrate on. [default: generated]")
@click.option("--calib-frames", type=click.IntRange(1), default=32, show_default=True)
@click.option(
    "--images",
    type=click.IntRange(2),
    default=128,
    show_default=True,
    help="Held-out images.",
)
@click.option(
    "--data",
    default="synthetic",
    show_default=True,
    help="What they are of: generated ones are of classes that training never sees.",
)
@click.option("--runs", type=click.IntRange(0), default=20, show_default=True, help="Timed runs.")
@click.option("--nncf-python", type=click.Path(path_type=Path), help="Python that has nncf.")
@click.option(
    "--modelopt-python", type=click.Path(path_type=Path), help="Python that has modelopt."
)
@json_option
def main(
    artifact: Path,
    calib: str | None,
    calib_frames: int,
    images: int,
    data: str,
    runs: int,
    nncf_python: Path | None,
    modelopt_python: Path | None,
    json_path: Path | None,
) -> None:
    """Quantize the float32 graph of ARTIFACT in every way and measure what comes of it."""
    from int8_measure import HeldOut, measure, table, time_rows
    from int8_peers import write_all
    from machine import describe
    from zsad.artifact import Artifact
    from zsad.schema import write_json
    from zsad_calibration.int8.frames import calibration_images

    opened = Artifact.open(artifact)
    frames = calibration_images(calib, calib_frames, opened.manifest.preprocess)
    held_out = HeldOut.of(opened, data, images)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        pythons = {"nncf": nncf_python, "modelopt": modelopt_python}
        for made in write_all(opened, frames, Path(folder), pythons):
            rows.append(measure(made, held_out))
            click.echo(f"{made.name}: {rows[-1].describe()}", err=True)
        rows = time_rows(rows, held_out, runs)
    click.echo(table(rows))
    if json_path is not None:
        record = {
            "machine": describe(),
            "method": opened.manifest.method.name,
            "backbone": opened.manifest.backbone.name,
            "calibration": {"source": calib or "generated", "frames": len(frames)},
            "data": data,
            "images": len(held_out.images),
            "runs": runs,
            "rows": [row.record() for row in rows],
        }
        write_json(json_path, record)
        click.echo(str(json_path))


if __name__ == "__main__":
    main()
