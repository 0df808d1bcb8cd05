"""A seeded choice of labelled images as files, for a run that a reader can look at."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np

from zsad.data import GOOD, Dataset, Sample, open_dataset
from zsad.schema import write_atomic


def pick_photographs(spec: str, exclude: Path, folder: Path, *, per_label: int, seed: int) -> str:
    """Write some images of each label as PNG, named by their defect, and say how many.

    Args:
        spec: The data set.
        exclude: File with names to leave out, one a line.
        folder: Where the images go; what an earlier choice left there is removed.
        per_label: Images of each label.
        seed: Seed of the choice.
    """
    excluded = set(exclude.read_text(encoding="utf-8").split("\n"))
    chosen = choose(open_dataset(spec), excluded, per_label, seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for sample in chosen:
        name = f"{sample.defect_type}-{sample.name}".replace("/", "-").replace(" ", "-")
        _, content = cv2.imencode(".png", sample.image_bgr)
        write_atomic(folder / f"{name}.png", content.tobytes())
    good = sum(sample.defect_type == GOOD for sample in chosen)
    return f"{good} good and {len(chosen) - good} defective images in {folder}"


def choose(dataset: Dataset, excluded: set[str], per_label: int, seed: int) -> list[Sample]:
    """Return up to `per_label` samples of each label in a seeded order, good ones first."""
    found: dict[int, list[Sample]] = {0: [], 1: []}
    for index in np.random.default_rng(seed).permutation(len(dataset)):
        sample = dataset[int(index)]
        if sample.name not in excluded and len(found[sample.label]) < per_label:
            found[sample.label].append(sample)
        if all(len(samples) == per_label for samples in found.values()):
            break
    return found[0] + found[1]
