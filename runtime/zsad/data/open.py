"""One language for data sets everywhere: `--data SPEC`."""

from __future__ import annotations

from pathlib import Path

from zsad.data.elpv import open_elpv
from zsad.data.folder import open_folder
from zsad.data.listed import open_meta, open_visa
from zsad.data.public import LAYOUTS, open_public
from zsad.data.synthetic import SyntheticDataset
from zsad.data.types import Dataset
from zsad.errors import InputError

SPECS = {
    "synthetic": "generated parts and surfaces, captioned, with pixel masks",
    "synthetic-texture": "generated textures only, few defect types",
    "elpv": "solar cells: 1508 normal, 715 defective photographs, no pixel masks",
    "elpv-377": "solar cells: a seeded choice of 377 normal ones, 715 defective",
    "folder:PATH": "good/, any other sub-folder is a defect type, optional ground_truth/",
    **{
        f"{name}:PATH": "a public data set, in the folders that docs/data.md shows"
        for name in LAYOUTS
    },
}
"""Every spec that `open_dataset` reads, with what it is."""


def open_dataset(
    spec: str,
    *,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    size: int = 224,
) -> Dataset:
    """Open a data set by its spec.

    Args:
        spec: One of `SPECS`.
        split: `train`, `val` or `test`. Only generated data has several; ELPV is a test set, and a
            folder is used whole, whatever the split.
        limit: At most this many samples: the first ones of generated data (balanced), a seeded
            choice with the same share of defects of files.
        seed: Seed of generated data and of every choice.
        size: Side of generated images in pixels.

    Raises:
        InputError: The spec, split or path cannot be used; the line says what was expected.
    """
    if limit is not None and limit < 1:
        raise InputError(f"a limit of {limit} samples leaves nothing: use 1 or more")
    if seed < 0:
        raise InputError(f"seed {seed} is negative: use 0 or more")
    kind, _, path = spec.partition(":")
    if spec in ("synthetic", "synthetic-texture"):
        return SyntheticDataset(split, None, seed, size, spec.endswith("texture")).limited(limit)
    if spec in ("elpv", "elpv-377"):
        if split != "test":
            raise InputError(f"'{spec}' is a test set and has no split '{split}': use split 'test'")
        return open_elpv(377 if spec == "elpv-377" else None, seed).limited(limit, seed)
    if kind in LAYOUTS and path:
        return open_public(kind, Path(path).expanduser(), split).limited(limit, seed)
    if kind == "visa" and path:
        return open_visa(Path(path).expanduser(), split).limited(limit, seed)
    if kind == "meta" and path:
        return open_meta(Path(path).expanduser(), split).limited(limit, seed)
    if kind == "folder" and path:
        return open_folder(Path(path).expanduser()).limited(limit, seed)
    raise InputError(f"unknown data set '{spec}': expected one of {', '.join(SPECS)}")
