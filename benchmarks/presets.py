"""Which options DIVE's presets should have: every variant trained with several seeds, on val.

    python benchmarks/presets.py --json benchmarks/results/presets-dive-tiny.json

Trains on the train split of the generated data and measures on its validation split, whose classes
training never sees. No test split and no photograph takes part in the choice.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from options import json_option
from zsad.command import Command

VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "10 compound prompts": {"abnormal_prompts": 10},
    "V-V from the middle": {"vv_from_block": 4},
    "both": {"abnormal_prompts": 10, "vv_from_block": 4},
}
"""What each variant changes of the preset `dive-paper`; `tiny` has 8 blocks."""


@dataclass(frozen=True)
class Trial:
    """One training run.

    Attributes:
        variant: A key of `VARIANTS`.
        seed: Of parameters, order and generated images.
        images: Training images.
        epochs: Passes over them.
        val_images: Validation images, the same for all.
    """

    variant: str
    seed: int
    images: int
    epochs: int
    val_images: int


@click.command(cls=Command)
@click.option("--seeds", default=3, show_default=True, help="Runs of each variant.")
@click.option("--images", default=384, show_default=True, help="Training images of a run.")
@click.option("--epochs", default=4, show_default=True, help="Passes over them.")
@click.option("--val-images", default=256, show_default=True, help="Validation images.")
@click.option("--workers", default=2, show_default=True, help="Runs at a time, a thread each.")
@json_option
def main(
    seeds: int, images: int, epochs: int, val_images: int, workers: int, json_path: Path | None
) -> None:
    """Train every variant of DIVE on `tiny` and print its mean validation figures."""
    from machine import describe
    from zsad.schema import write_json

    trials = [Trial(v, s, images, epochs, val_images) for s in range(seeds) for v in VARIANTS]
    results = []
    with ProcessPoolExecutor(workers) as pool:
        for trial, found in zip(trials, pool.map(measure, trials), strict=True):
            results.append({**asdict(trial), **found})
            click.echo(f"{trial.variant}, seed {trial.seed}: {shown(found)}")
    click.echo("\n" + table(results))
    if json_path is not None:
        record = {"machine": describe(), "variants": VARIANTS, "trials": results}
        write_json(json_path, record)
        click.echo(str(json_path))


def measure(trial: Trial) -> dict[str, Any]:
    """Train once; return the validation figures of the last epoch and the run's seconds."""
    import tempfile

    import torch

    from zsad_train.config import Job, TrainConfig
    from zsad_train.run import train

    torch.set_num_threads(1)
    job = Job(
        data="synthetic",
        preset="dive-paper",
        limit=trial.images,
        val_limit=trial.val_images,
        train=TrainConfig(epochs=trial.epochs, seed=trial.seed),
        **VARIANTS[trial.variant],
    )
    with tempfile.TemporaryDirectory() as folder:
        records = train(job, Path(folder) / "dive.pt")
    return {**records[-1].val, "seconds": round(sum(record.seconds for record in records))}


def shown(found: dict[str, Any]) -> str:
    """Return a run's figures in words."""
    image, pixel = 100 * found["image_auroc"], 100 * found["pixel_auroc"]
    return f"image AUROC {image:.1f}, pixel AUROC {pixel:.1f}, {found['seconds']} s"


def table(results: list[dict[str, Any]]) -> str:
    """Return means and standard deviations over the seeds as a Markdown table."""
    import numpy as np

    lines = ["| variant | image AUROC | pixel AUROC | runs |", "|---|---|---|---|"]
    for variant in dict.fromkeys(result["variant"] for result in results):
        runs = [result for result in results if result["variant"] == variant]
        cells = []
        for name in ("image_auroc", "pixel_auroc"):
            values = 100 * np.array([run[name] for run in runs])
            spread = f" ± {values.std(ddof=1):.1f}" if len(runs) > 1 else ""
            cells.append(f"{values.mean():.1f}{spread}")
        lines.append(f"| {variant} | {cells[0]} | {cells[1]} | {len(runs)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
