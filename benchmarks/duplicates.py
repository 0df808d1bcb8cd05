"""How well `zsad-calibrate` tells a burst of one part from parts that are alike.

    OMP_NUM_THREADS=1 python benchmarks/duplicates.py --json benchmarks/results/duplicates.json

Each figure is a multiple of the rule's limit: at most 1 counts as one part. The parts are generated
ones, on which the rule was chosen; photographs are judged in tests/calibration/test_duplicates.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from options import json_option
from zsad.command import Command
from zsad.types import ImageU8

SETS = ("synthetic", "synthetic-texture")
Floats = npt.NDArray[np.float64]
Change = Callable[[Floats], ImageU8]


@click.command(cls=Command)
@click.option("--parts", default=80, show_default=True, help="Good parts of each set.")
@click.option("--seed", default=0, show_default=True, help="Seed of the noise.")
@json_option
def main(parts: int, seed: int, json_path: Path | None) -> None:
    """Compare frames of one part, and of different parts, and print the table."""
    from zsad.schema import write_json

    rows = measure(parts, seed)
    click.echo(table(rows))
    if json_path is not None:
        write_json(json_path, {"parts": parts, "seed": seed, "rows": rows})
        click.echo(str(json_path))


def measure(parts: int, seed: int) -> list[dict[str, Any]]:
    """Return lowest, median and highest unlikeness of each kind of pair."""
    rng = np.random.default_rng(seed)
    by_class: dict[tuple[str, str], list[ImageU8]] = {}
    for name in SETS:
        for class_name, frame in _good(name, parts):
            by_class.setdefault((name, class_name), []).append(frame)
    firsts = [frames[0].astype(np.float64) for frames in by_class.values()]
    rows = [
        _row(name, [_between(change(part), _noisy(part, 2, rng)) for part in firsts])
        for name, change in _changes(rng).items()
    ]
    pairs = [pair for frames in by_class.values() for pair in combinations(frames, 2)]
    return [*rows, _row("two parts of one class", [_between(a, b) for a, b in pairs])]


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = ["| pair of frames, 224 x 224 | lowest | median | highest |", "|---|---|---|---|"]
    for row in rows:
        figures = " | ".join(f"{row[key]:.2f}" for key in ("lowest", "median", "highest"))
        lines.append(f"| {row['pair']} | {figures} |")
    return "\n".join(lines)


def _changes(rng: np.random.Generator) -> dict[str, Change]:
    """What happens between two frames of one part; both have noise of 2 levels or more."""
    made: dict[str, Change] = {}
    for sigma in (2, 4, 8, 16):
        made[f"one part, noise of {sigma} levels"] = partial(_noisy, sigma=sigma, rng=rng)
    for quality in (90, 60):
        made[f"one part, JPEG of quality {quality}"] = partial(_jpeg, quality=quality, rng=rng)
    for pixels in (1, 2, 3, 5):
        share = 100 * pixels / 224
        name = f"one part, moved by {pixels} px ({share:.1f} % of the frame)"
        made[name] = partial(_moved, pixels=pixels, rng=rng)
    made["one part, light 1 % brighter"] = partial(_brighter, rng=rng)
    return made


def _good(name: str, count: int) -> list[tuple[str, ImageU8]]:
    from zsad.data import open_dataset

    dataset = open_dataset(name)
    samples = (dataset[index] for index in range(len(dataset)))
    good = ((s.class_name, s.image_bgr) for s in samples if s.label == 0)
    return [each for each, _ in zip(good, range(count), strict=False)]


def _between(one: ImageU8, other: ImageU8) -> float:
    from zsad.watch.likeness import thumbnail_of, unlikeness

    return unlikeness(thumbnail_of(one), thumbnail_of(other))


def _row(pair: str, found: list[float]) -> dict[str, Any]:
    figures = {"lowest": min(found), "median": float(np.median(found)), "highest": max(found)}
    return {"pair": pair, "pairs": len(found), **figures}


def _noisy(frame: Floats, sigma: float, rng: np.random.Generator) -> ImageU8:
    noise = rng.normal(0, sigma, frame.shape)
    return np.clip(np.rint(frame + noise), 0, 255).astype(np.uint8)


def _jpeg(frame: Floats, quality: int, rng: np.random.Generator) -> ImageU8:
    import cv2

    _, encoded = cv2.imencode(".jpg", _noisy(frame, 2, rng), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def _moved(frame: Floats, pixels: float, rng: np.random.Generator) -> ImageU8:
    import cv2

    matrix: Any = np.array([[1, 0, pixels], [0, 1, 0]], np.float32)
    size = (frame.shape[1], frame.shape[0])
    moved: Any = cv2.warpAffine(frame, matrix, size, borderMode=cv2.BORDER_REFLECT)
    return _noisy(np.asarray(moved, np.float64), 2, rng)


def _brighter(frame: Floats, rng: np.random.Generator) -> ImageU8:
    return _noisy(1.01 * frame, 2, rng)


if __name__ == "__main__":
    main()
