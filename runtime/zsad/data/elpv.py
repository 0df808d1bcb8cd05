"""ELPV: 2,624 electroluminescence photographs of solar cells, 300 x 300 px, 8-bit grey.

From the PyPI package `elpv-dataset` or a clone of github.com/zae-bayern/elpv-dataset (Buerhop-Lutz
et al. 2018; CC BY-NC-SA 4.0). Experts gave each cell a probability of being defective: 0, 1/3, 2/3
or 1. As in the zero-shot literature only the certain ones are used: 1,508 normal, 715 anomalous.
There are no pixel masks.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from zsad.data.files import ImageFileDataset, ImageItem
from zsad.data.package import package_folder
from zsad.data.types import GOOD
from zsad.errors import InputError

CLASS_NAME = "solar cell"
DEFECTIVE = "defective"
N_NORMAL = 377
"""Normal cells in FAPrompt's test set (appendix A): a quarter of the 1,508."""
DRAWS = range(20)
"""Seeds of the draws that a benchmark averages over."""
SPLIT_SEED = 42
"""Seed of the split that FAPrompt's authors publish for ELPV with an earlier paper.

`datasets/preprocess/convert_elpv.py` of github.com/mala-lab/InCTRL holds back a quarter of the
normal cells with it. That FAPrompt reports on the same list is likely (same group, same counts)
and not written anywhere.
"""


def open_elpv(root: Path | None = None) -> ImageFileDataset:
    """Open the certain cells of ELPV.

    Args:
        root: Folder with `labels.csv` and `images/`; None for the installed package.

    Raises:
        MissingExtraError: The package is not installed.
        InputError: The folder or the package does not hold what it should.
    """
    folder = root or package_folder("elpv_dataset", "elpv-dataset", "elpv") / "data"
    fix = (
        "expected a clone of zae-bayern/elpv-dataset (its data folder in newer ones)"
        if root
        else "reinstall with pip install --force-reinstall elpv-dataset"
    )
    items = _read_labels(folder, fix)
    missing = [item.path for item in items if not item.path.is_file()]
    if missing or not items:
        what = f"lacks {missing[0]}" if missing else "lists no certain cell"
        raise InputError(f"ELPV folder {folder} {what}: {fix}")
    return ImageFileDataset("elpv", items, has_masks=False)


def draw_elpv(seed: int = SPLIT_SEED) -> ImageFileDataset:
    """Open all 715 defective cells with a draw of 377 normal ones.

    The draw is the first quarter of `numpy.random.RandomState(seed).permutation`, which is how
    scikit-learn's `train_test_split(test_size=0.25, random_state=seed)` takes its test part.

    Raises:
        MissingExtraError: The package is not installed.
        InputError: The package does not hold what it should, or the seed cannot be used.
    """
    if seed >= 2**32:
        raise InputError(f"elpv-{N_NORMAL} cannot be drawn by seed {seed}: use one below 2^32")
    data = open_elpv()
    normal = [i for i, label in enumerate(data.labels) if not label]
    if len(normal) < N_NORMAL:
        raise InputError(f"ELPV has {len(normal)} normal cells, {N_NORMAL} are to be drawn")
    # The legacy generator, on purpose: its stream is frozen for all versions of numpy.
    drawn = np.random.RandomState(seed).permutation(len(normal))[:N_NORMAL]
    kept = {normal[i] for i in drawn.tolist()}
    items = (item for i, item in enumerate(data.items) if item.label or i in kept)
    name = f"elpv-{N_NORMAL}" if seed == SPLIT_SEED else f"elpv-{N_NORMAL}-{seed}"
    return replace(data, name=name, items=tuple(items))


def _read_labels(folder: Path, fix: str) -> tuple[ImageItem, ...]:
    path = folder / "labels.csv"
    try:
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
        table = [(name, float(probability)) for name, probability, _ in rows]
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not ELPV's table of 'image probability type': {fix}"
        ) from error
    return tuple(
        ImageItem(folder / name, CLASS_NAME, DEFECTIVE if probability == 1 else GOOD)
        for name, probability in table
        if probability in (0.0, 1.0)
    )
