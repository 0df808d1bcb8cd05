"""How much faster an epoch is with --feature-cache, on the embedded backbone and one thread.

    python benchmarks/feature_cache.py --json benchmarks/results/feature-cache-tiny.json

Every method whose tower no gradient reaches trains a few epochs without and with the cache, in
turns. Seconds are those of the processor, which a busy machine does not change much; what it took
to fill the cache stands beside them. Both runs end with the same weights, to the bit, or it fails.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import click

from accuracy_table import markdown
from options import json_option
from zsad.command import Command

METHODS = ("anomalyclip", "faprompt", "cops", "mrad", "entroad")


@click.command(cls=Command)
@click.option("--method", "methods", multiple=True, default=METHODS, help="A method; all if none.")
@click.option("--images", default=64, show_default=True, help="Generated training images.")
@click.option("--epochs", default=4, show_default=True, help="Epochs of a run.")
@json_option
def main(methods: tuple[str, ...], images: int, epochs: int, json_path: Path | None) -> None:
    """Time epochs without and with the cache and print how they compare."""
    from machine import describe
    from zsad.schema import write_json

    rows = [measure(method, images, epochs) for method in methods]
    click.echo(table(rows))
    if json_path is not None:
        record = {"machine": describe(), "threads": 1, "images": images, "epochs": epochs}
        write_json(json_path, {**record, "rows": rows})
        click.echo(str(json_path))


def measure(method: str, images: int, epochs: int) -> dict[str, Any]:
    """Train `method` without, with an empty and with a filled cache; return its row."""
    import torch

    from zsad_train.feature_cache import FeatureCache

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cache = FeatureCache(folder / "features", 20.0)
        plain, _ = trained(method, images, epochs, folder / "plain.pt", None)
        cached, filling = trained(method, images, epochs, folder / "first.pt", cache)
        again, finding = trained(method, images, epochs, folder / "second.pt", cache)
        check_equal([folder / f"{name}.pt" for name in ("plain", "first", "second")])
        held = sum(p.stat().st_size for p in cache.folder.rglob("*.safetensors"))
    slow, fast = median(plain[1:]), median([*cached[1:], *again[1:]])
    return {
        "method": method,
        "epoch_s": slow,
        "cached_epoch_s": fast,
        "times_faster": slow / fast,
        "filling_s": filling,
        "finding_s": finding,
        "mb_per_image": held / images / 1e6,
    }


def trained(
    method: str, images: int, epochs: int, out: Path, cache: Any
) -> tuple[list[float], float]:
    """Return the processor's seconds of every epoch, and those before the first.

    What a method takes from the data before its first epoch counts with that epoch, which is left
    out of the medians.
    """
    from zsad_train.config import Job, TrainConfig
    from zsad_train.run import train

    marks = [time.process_time()]
    config = TrainConfig(epochs=epochs, device="cpu")
    job = Job(data="synthetic", method=method, limit=images, val="none", train=config)
    train(job, out, lambda record: marks.append(time.process_time()), cache)
    seconds = [after - before for before, after in pairwise(marks)]
    return seconds, max(0.0, seconds[0] - median(seconds[1:]))


def check_equal(paths: Sequence[Path]) -> None:
    """Stop where two checkpoints differ in a bit.

    Raises:
        RuntimeError: They do.
    """
    import torch

    from zsad_train.checkpoint import load_checkpoint

    first, *others = (load_checkpoint(path).state for path in paths)
    for other in others:
        for name, tensor in first.items():
            if not torch.equal(tensor, other[name]):
                raise RuntimeError(f"the cache changed '{name}'")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    head = ["method", "epoch, s", "with the cache, s", "times as fast", "filling it, s"]
    cells = [
        [
            row["method"],
            f"{row['epoch_s']:.2f}",
            f"{row['cached_epoch_s']:.2f}",
            f"{row['times_faster']:.1f}",
            f"{row['filling_s']:.1f}",
            f"{row['mb_per_image']:.2f}",
        ]
        for row in rows
    ]
    return markdown([*head, "MB an image"], cells)


if __name__ == "__main__":
    main()
