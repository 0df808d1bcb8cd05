"""What `tiny-grain` finds that `tiny` does not, and at which input size, on drawings alone.

    python benchmarks/grain.py --cache runs/cache --json benchmarks/results/grain.json

The card's figures (train/zsad_train/tiny/MODEL_CARD.md): the fixed sentences "object" and "damaged
object", no prompt learned. The last drawings follow the process of the `textile-local` test set
with its own parameters, so what is found of them says what to expect there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np

from options import json_option
from zsad.command import Command

if TYPE_CHECKING:
    from open_clip.model import CLIP

    from zsad.types import Array, ImageU8
    from zsad_train.tiny.config import TinyConfig

BACKBONES = ("tiny", "tiny-grain")
SIDES = (224, 560)
SMALL = 0.003
"""Share of the image below which a flaw counts as small."""
COLUMNS = {
    "parts": "drawn parts",
    "parts_pixel": "drawn parts, pixel",
    "grains": "grain and weave",
    "grains_pixel": "grain and weave, pixel",
    "small": "of these, flaws under 0.3 %",
    "larger": "larger flaws",
    "cloth": "cloth as `textile-local`'s",
}


@click.command(cls=Command)
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="Drawn images.")
@click.option("--count", type=click.IntRange(8), default=512, show_default=True, help="Of a kind.")
@click.option("--cloths", type=click.IntRange(8), default=240, show_default=True, help="Of cloth.")
@json_option
def main(cache: Path, count: int, cloths: int, json_path: Path | None) -> None:
    """Measure both backbones at both input sizes and print the table."""
    from machine import describe
    from zsad.schema import write_json

    runs: list[dict[str, Any]] = []
    for name in BACKBONES:
        for side in SIDES:
            figures, counts = measure(name, side, cache, count, cloths)
            runs.append({"backbone": name, "image_size": side, **figures})
            click.echo(row(runs[-1]))
            if json_path is not None:
                record = {"machine": describe(), "counts": counts, "runs": runs}
                write_json(json_path, record)
    click.echo("\n" + table(runs))


def measure(
    name: str, side: int, folder: Path, count: int, cloths: int
) -> tuple[dict[str, float], dict[str, int]]:
    """Return the areas under the ROC curves, and of how many images."""
    from zsad.metrics import auroc
    from zsad_train.tiny.cache import open_cache
    from zsad_train.tiny.validate import defect_logits, pixel_auroc, separation

    model, config = towers(name, side)
    parts = separation(model, config, open_cache(folder, "val", count, 1, 224), count)
    grains = open_cache(folder, "grains", count, 1, 224)
    logits = defect_logits(model, config, grains.images, count)
    covered = [np.unpackbits(grains.masks[i], axis=-1, count=224).mean() for i in range(count)]
    flawed, small = np.array(covered) > 0, np.array(covered) < SMALL
    cloth = defect_logits(model, config, [cloth_picture(i) for i in range(cloths)], cloths)
    of = {"small": ~flawed | small, "larger": ~flawed | ~small}
    figures = {
        "parts": parts.image_auroc,
        "parts_pixel": parts.pixel_auroc,
        "grains": auroc(logits[:, 0], flawed),
        "grains_pixel": pixel_auroc(logits[:, 1:], grains, count),
        **{kind: auroc(logits[chosen, 0], flawed[chosen]) for kind, chosen in of.items()},
        "cloth": auroc(cloth[:, 0], np.arange(cloths) % 2 == 1),
    }
    counts = {
        "parts": count,
        "grains": count,
        "small": int((flawed & small).sum()),
        "larger": int((flawed & ~small).sum()),
        "cloth": cloths,
    }
    return {kind: round(value, 4) for kind, value in figures.items()}, counts


def towers(name: str, side: int) -> tuple[CLIP, TinyConfig]:
    """Return an embedded backbone for images of `side` px, with its geometry."""
    from zsad_train.tiny import EMBEDDED, build_tiny
    from zsad_train.tiny.loader import read_state
    from zsad_train.towers.weights import fit_positions

    config = replace(EMBEDDED[name].config, image_size=side)
    model = build_tiny(config).eval()
    state = fit_positions(read_state(name), model.visual.grid_size, "bicubic-antialias")
    model.load_state_dict(state)
    return model, config


def cloth_picture(index: int) -> ImageU8:
    """Draw cloth as the `textile-local` set was: (250, 250, 3) uint8 BGR, every second one flawed.

    The process is that of the R package spc4sts (Bui and Apley 2018), `sarGen(phi1=0.6, phi2=0.35)`
    and `imposeDefect(a=4, b=10, phi1=0, phi2=0)`; the picture has 33 grey levels and went through
    JPEG at quality 75.
    """
    from zsad_train.tiny.fields import Weave

    rng = np.random.default_rng([99, index])
    field = Weave(0.6, 0.35, 1.0).draw(rng, 250)
    if index % 2:
        other = Weave(0, 0, 1.0).draw(rng, 250)
        y, x = np.mgrid[:250, :250]
        middle_y, middle_x = rng.integers(9, 242), rng.integers(15, 236)
        inside = ((y - middle_y) / 4) ** 2 + ((x - middle_x) / 10) ** 2 <= 1.05
        field = np.where(inside, other, field)
    return _stored(np.rot90(field))


def _stored(field: Array) -> ImageU8:
    lowest, highest = field.min(), field.max()
    levels = np.floor((field - lowest) / (highest - lowest) * 32.999) / 32 * 255
    grey = np.ascontiguousarray(levels.astype(np.uint8))
    data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def row(run: dict[str, Any]) -> str:
    """Return one backbone at one size as a line of the table, in percent."""
    figures = " | ".join(f"{100 * run[name]:.1f}" for name in COLUMNS)
    return f"| `{run['backbone']}`, {run['image_size']} px | {figures} |"


def table(runs: list[dict[str, Any]]) -> str:
    """Return all runs as a Markdown table."""
    head = f"| AUROC | {' | '.join(COLUMNS.values())} |"
    return "\n".join([head, "|---" * (1 + len(COLUMNS)) + "|", *map(row, runs)])


if __name__ == "__main__":
    main()
