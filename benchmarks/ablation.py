"""What each part of `tiny`'s recipe gives: short runs, each without one of them, on val.

    python benchmarks/ablation.py --cache runs/cache --json benchmarks/results/ablation-tiny.json

Every run has the same steps, far fewer than the published one, and is measured on the validation
split of the generated data with fixed sentences: no prompt is learned, no test set is looked at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from options import check_folder
from zsad.command import Command

VARIANTS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "without ImageNet's weights, the stem learned": {"imagenet": False},
    "without the sentence encoder, words learned": {"sentences": False},
    "without photographs": {"images": (("pretrain", 60000),)},
    "photographs alone": {"images": (("photographs", 60000),)},
    "without pretrain's classes and defects": {
        "images": (("train", 36000), ("photographs", 24000))
    },
    "without overlays, warps and degradation": {"overlaid": 0.0, "warped": 0.0, "degraded": 0.0},
}
"""What each variant changes of the recipe."""


@click.command(cls=Command)
@click.option("--steps", default=300, show_default=True, help="Steps of each run.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    required=True,
    help="Generated images, drawn where they are not there yet (20 GB in all).",
)
@click.option(
    "--share", default=1.0, show_default=True, help="Of the recipe's images, how many are drawn."
)
@click.option("--only", multiple=True, help="A variant by name; all if not given.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    callback=check_folder,
    help="Also write a JSON, after every run; the runs in it are not done again.",
)
def main(
    steps: int, cache: Path, share: float, only: tuple[str, ...], json_path: Path | None
) -> None:
    """Train every variant and print its validation figures."""
    from machine import describe
    from zsad.errors import InputError
    from zsad.schema import write_json

    unknown = set(only) - set(VARIANTS)
    if unknown:
        raise InputError(f"unknown variant '{min(unknown)}': use one of {', '.join(VARIANTS)}")
    results = done(json_path, steps, share)
    for name in only or VARIANTS:
        if any(result["variant"] == name for result in results):
            continue
        results.append({"variant": name, **measure(VARIANTS[name], steps, share, cache)})
        click.echo(row(results[-1]))
        if json_path is not None:
            record = {"machine": describe(), "steps": steps, "share": share, "runs": results}
            write_json(json_path, record)
    click.echo("\n" + table(results))


def done(json_path: Path | None, steps: int, share: float) -> list[dict[str, Any]]:
    """Return the runs that an interrupted call left.

    Raises:
        InputError: The file holds other runs.
    """
    from zsad.errors import InputError
    from zsad.schema import read_json

    if json_path is None or not json_path.is_file():
        return []
    record = read_json(json_path, "ablation")
    if not isinstance(record, dict) or (record.get("steps"), record.get("share")) != (steps, share):
        raise InputError(f"{json_path} is no ablation of {steps} steps and share {share}: move it")
    runs: list[dict[str, Any]] = record["runs"]
    return runs


def measure(changes: Mapping[str, Any], steps: int, share: float, cache: Path) -> dict[str, Any]:
    """Train once; return the validation figures of the last step and the seconds of all."""
    import cv2
    import torch

    from zsad_train.tiny.recipes import STAGES
    from zsad_train.tiny.train import last_report, train

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    recipe = replace(STAGES[0], steps=steps, **changes)
    images = tuple((split, max(round(share * count), 1)) for split, count in recipe.images)
    with tempfile.TemporaryDirectory() as folder:
        train(replace(recipe, images=images), Path(folder), cache, steps, workers=1)
        report = last_report(Path(folder))
    names = ("image_auroc", "pixel_auroc", "patch_max_auroc", "seconds")
    return {"changes": dict(changes), **{name: report[name] for name in names}}


def row(result: Mapping[str, Any]) -> str:
    """Return one run as a line of the table."""
    image, pixel = 100 * result["image_auroc"], 100 * result["pixel_auroc"]
    return f"| {result['variant']} | {image:.1f} | {pixel:.1f} |"


def table(results: list[dict[str, Any]]) -> str:
    """Return all runs as a Markdown table."""
    head = ["| variant | image AUROC | pixel AUROC |", "|---|---|---|"]
    return "\n".join([*head, *(row(result) for result in results)])


if __name__ == "__main__":
    main()
