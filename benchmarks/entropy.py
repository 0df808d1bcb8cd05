"""Do defects have high or low attention entropy? The sign that EntroAD's routing needs, measured.

    python benchmarks/entropy.py --json benchmarks/results/entropy-tiny.json

EntroAD's abstract takes the entropy of a patch's attention for relational uncertainty, and its
routing takes high entropy for anomalous; work on token pruning takes high entropy for redundant.
Here the entropy of every patch of the defective validation images is held against the masks, in
each block that is read and in their mean. Nothing is trained, and no test set is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accuracy_table import markdown
from options import json_option
from zsad.command import Command

if TYPE_CHECKING:
    from torch import Tensor

    from zsad.data import Dataset
    from zsad_train.towers import Backbone

HEADS = ("mean", "each")
"""Where the mean over heads is taken, as `VisionTower` takes it."""

COVERED = 0.5
"""Share of its pixels from which on a patch is a defective one; one without any is normal, and
those between are left out."""


@click.command(cls=Command)
@click.option("--backbone", default="tiny", show_default=True,
              help="`tiny`, `tiny-grain` or an open_clip name.")  # fmt: skip
@click.option("--pretrained", help="open_clip tag or path to weights.")
@click.option("--data", default="synthetic", show_default=True, help="Spec with masks.")
@click.option("--split", default="val", show_default=True, help="Its split.")
@click.option("--images", default=512, show_default=True, help="Images, half of them defective.")
@json_option
def main(
    backbone: str,
    pretrained: str | None,
    data: str,
    split: str,
    images: int,
    json_path: Path | None,
) -> None:
    """Print how well the entropy of a patch tells defective from normal ones."""
    from machine import describe
    from zsad.data import open_dataset
    from zsad.errors import InputError
    from zsad.schema import write_json
    from zsad_train.towers import load_backbone

    clip = load_backbone(backbone, pretrained=pretrained, pos_resize="bilinear")
    dataset = open_dataset(data, split=split, limit=images, size=min(clip.info.image_hw))
    if not dataset.has_masks:
        raise InputError(f"'{data}' has no masks to hold the entropy against: use other data")
    rows = measure(clip, dataset)
    click.echo(table(rows))
    outcome = sign(rows)
    click.echo(f"\nthe mean over blocks, heads averaged first, says: {outcome}")
    if json_path is not None:
        record: dict[str, Any] = {"machine": describe(), "backbone": backbone, "data": data}
        record |= {"weights_sha256": clip.info.sha256, "split": split, "images": images}
        record |= {"sign": outcome, "rows": rows}
        write_json(json_path, record)
        click.echo(str(json_path))


def measure(clip: Backbone, dataset: Dataset) -> list[dict[str, Any]]:
    """Return one row per block that is read and one for their mean, for each way to take heads."""
    import torch

    from zsad_train.batches import preprocess_spec, to_tensor
    from zsad_train.methods.options import quarter_ends

    torch.set_num_threads(1)
    blocks, spec = quarter_ends(clip.vision.depth), preprocess_spec(clip.info)
    found: dict[str, list[tuple[Tensor, Tensor]]] = {heads: [] for heads in HEADS}
    for index in range(len(dataset)):
        sample = dataset[index]
        if sample.label == 0 or sample.mask is None:
            continue
        labels = patch_labels(torch.from_numpy(sample.mask), clip.vision.grid_hw)
        for heads in HEADS:
            image = to_tensor(sample.image_bgr, spec)[None]
            with torch.no_grad():
                features = clip.vision(image, entropy_blocks=blocks, entropy_heads=heads)
            each = torch.cat(features.entropies)  # (blocks, P)
            found[heads].append((torch.cat([each, each.mean(dim=0, keepdim=True)]), labels))
    names = [*(f"block {block}" for block in blocks), "mean"]
    return [
        {"heads": heads, "block": name, **figures([(e[row], m) for e, m in found[heads]])}
        for heads in HEADS
        for row, name in enumerate(names)
    ]


def patch_labels(mask: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Return 1 for defective patches (P,), 0 for normal and -1 for others, of a mask (H, W)."""
    import torch

    cover = torch.nn.functional.adaptive_avg_pool2d(mask.float()[None], grid_hw)[0].flatten()
    return (cover >= COVERED).int() - ((cover > 0) & (cover < COVERED)).int()


def figures(images: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Return the AUROC of high entropy for defective patches, within images and over all of them.

    Args:
        images: Entropies (P,) and labels (P,) of each image, as `patch_labels` gives them.
    """
    import numpy as np

    from zsad.metrics import auroc

    kept = [(e[m >= 0].numpy(), m[m >= 0].numpy()) for e, m in images]
    within = [float(auroc(e, m)) for e, m in kept if 0 < m.sum() < len(m)]
    scores, labels = (np.concatenate(part) for part in zip(*kept, strict=True))
    spread = np.std(within, ddof=1) / np.sqrt(len(within))
    return {
        "within_images": float(np.mean(within)),
        "standard_error": float(spread),
        "above_chance": float(np.mean(np.array(within) > 0.5)),
        "pooled": float(auroc(scores, labels)),
        "images": len(within),
    }


def sign(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return `high` or `low`: what entropy defects have within their image, in the mean row."""
    (row,) = [row for row in rows if row["block"] == "mean" and row["heads"] == "mean"]
    return "high" if row["within_images"] >= 0.5 else "low"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    head = ["heads", "block", "AUROC within images", "pooled", "images above chance"]
    cells = [
        [
            row["heads"],
            row["block"],
            f"{100 * row['within_images']:.1f} ± {100 * row['standard_error']:.1f}",
            f"{100 * row['pooled']:.1f}",
            f"{100 * row['above_chance']:.0f} % of {row['images']}",
        ]
        for row in rows
    ]
    return markdown(head, cells)


if __name__ == "__main__":
    main()
