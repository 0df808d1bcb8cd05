"""ELPV: 2,624 electroluminescence photographs of solar cells, 300 x 300 px, 8-bit grey.

From the PyPI package `elpv-dataset` (Buerhop-Lutz et al. 2018; CC BY-NC-SA 4.0). Experts gave each
cell a probability of being defective: 0, 1/3, 2/3 or 1. As in the zero-shot literature only the
certain ones are used: 1,508 normal, 715 anomalous. There are no pixel masks.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from zsad.data.files import ImageFileDataset, ImageItem
from zsad.data.types import GOOD
from zsad.errors import InputError, MissingExtraError

CLASS_NAME = "solar cell"
DEFECTIVE = "defective"
_PACKAGE = "elpv_dataset"


def open_elpv(n_normal: int | None = None, seed: int = 0) -> ImageFileDataset:
    """Open the certain cells of ELPV.

    Args:
        n_normal: Keep a seeded choice of this many normal cells. FAPrompt (appendix, data set
            table) reports 377 normal and 715 anomalous ones without saying which.
        seed: Seed of that choice.

    Raises:
        MissingExtraError: The package is not installed.
        InputError: The package does not hold what it should.
    """
    folder = _package_folder() / "data"
    items = tuple(_read_labels(folder))
    name = "elpv"
    if n_normal is not None:
        normal = [i for i, item in enumerate(items) if not item.label]
        kept = np.random.default_rng(seed).choice(normal, n_normal, replace=False)
        dropped = set(normal) - set(kept.tolist())
        items = tuple(item for i, item in enumerate(items) if i not in dropped)
        name = f"elpv-{n_normal}"
    return ImageFileDataset(name, items, has_masks=False)


def _package_folder() -> Path:
    # Not imported: the package itself reads all images at once, through another image library.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError("elpv-dataset", "demo", "the data set 'elpv'")
    return Path(spec.origin).parent


def _read_labels(folder: Path) -> list[ImageItem]:
    path = folder / "labels.csv"
    try:
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
        table = [(name, float(probability)) for name, probability, _ in rows]
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not ELPV's table of 'image probability type': "
            "reinstall with pip install --force-reinstall elpv-dataset"
        ) from error
    return [
        ImageItem(folder / name, CLASS_NAME, DEFECTIVE if probability == 1 else GOOD)
        for name, probability in table
        if probability in (0.0, 1.0)
    ]
