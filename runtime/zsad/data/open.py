"""One language for data sets everywhere: `--data SPEC`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from zsad.data.elpv import DRAWS, N_NORMAL, SPLIT_SEED, draw_elpv, open_elpv
from zsad.data.files import ImageFileDataset
from zsad.data.folder import open_folder
from zsad.data.listed import open_meta, open_visa
from zsad.data.named import open_aitex, open_dagm
from zsad.data.public import LAYOUTS, open_public
from zsad.data.subset import NameList, Subset, pool, pool_files
from zsad.data.synthetic import SyntheticDataset
from zsad.data.textile import DEFECTS, open_textile
from zsad.data.types import Dataset
from zsad.errors import InputError

SPECS = {
    "synthetic": "generated parts and surfaces, captioned, with pixel masks",
    "synthetic-texture": "generated textures only, few defect types",
    "elpv": "solar cells: 1508 normal, 715 defective photographs, no pixel masks",
    "elpv:PATH": "the same from a folder with labels.csv and images/",
    "elpv-377": "solar cells: 377 normal ones, 715 defective, split as FAPrompt's authors do",
    "elpv-377:SEED": f"the same with another draw; benchmarks average over {DRAWS.stop} from 0",
    "textile-local": "simulated textile: 1000 normal, 500 with a local defect, no pixel masks",
    "textile-global": "simulated textile: the same 1000 normal, 500 with a global defect",
    "folder:PATH": "good/, any other sub-folder is a defect type, optional ground_truth/",
    "list:FILE:SPEC": "the part of a data set that benchmarks/resample.py chose",
    "meta:PATH": "a meta.json, or its folder: split, class, images with masks",
    **{
        f"{name}:PATH": "a public data set, in the folders that docs/data.md shows"
        for name in ("visa", "dagm", "aitex", *LAYOUTS)
    },
}
"""Every spec that `open_dataset` reads, with what it is."""

_TWO_SPLITS = {
    "meta",
    "visa",
    "dagm",
    *(n for n, rows in LAYOUTS.items() if any("{split}" in p for row in rows for p in row.images)),
}

# Opened by their name alone; all of them are test sets.
_PACKAGED: dict[str, Callable[[], ImageFileDataset]] = {
    "elpv": open_elpv,
    f"elpv-{N_NORMAL}": draw_elpv,
    **{f"textile-{defect}": partial(open_textile, defect) for defect in DEFECTS},
}
_IN_FOLDERS: dict[str, Callable[[Path, str], ImageFileDataset]] = {
    "meta": open_meta,
    "visa": open_visa,
    "dagm": open_dagm,
    "aitex": open_aitex,
    "folder": lambda path, split: open_folder(path),
    "elpv": lambda path, split: open_elpv(path),
    **{name: partial(open_public, name) for name in LAYOUTS},
}


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
        split: `train`, `val` or `test`, of generated data also `pretrain`; `all` for every split of
            a set of files, since the train split of most has no defects. ELPV and textile are test
            sets, and a folder is used whole, whatever the split.
        limit: At most this many samples: the first ones of generated data (balanced), of files a
            seeded choice in which each label and class has its share.
        seed: Seed of generated data and of every choice.
        size: Side of generated images in pixels.

    Raises:
        InputError: The spec, split or path cannot be used; the line says what was expected.
    """
    if limit is not None and limit < 1:
        raise InputError(f"a limit of {limit} samples leaves nothing: use 1 or more")
    if seed < 0:
        raise InputError(f"seed {seed} is negative: use 0 or more")
    if spec in ("synthetic", "synthetic-texture"):
        return SyntheticDataset(split, None, seed, size, spec.endswith("texture")).limited(limit)
    if spec.startswith("list:"):
        return _open_list(spec, split, seed, size).limited(limit, seed)
    files = _open_files(spec, split)
    files.check_names()
    return files.limited(limit, seed)


def _open_list(spec: str, split: str, seed: int, size: int) -> Subset:
    _, _, rest = spec.partition(":")
    path, _, whole = rest.partition(":")
    if not path or not whole:
        raise InputError(f"'{spec}' does not name a list and its data set: use list:FILE:SPEC")
    listed = NameList.read(Path(path).expanduser())
    if listed.split != split:
        raise InputError(f"list {path} is of split '{listed.split}', not of '{split}'")
    parts = [open_dataset(whole, split=part, seed=seed, size=size) for part in listed.pooled]
    return listed.of(pool(parts))


def _open_files(spec: str, split: str) -> ImageFileDataset:
    kind, _, rest = spec.partition(":")
    if split == "all":
        parts = ("train", "test") if kind in _TWO_SPLITS else ("test",)
        return pool_files([_open_files(spec, part) for part in parts])
    if kind in _PACKAGED and split != "test":
        raise InputError(f"'{spec}' is a test set and has no split '{split}': use split 'test'")
    if spec in _PACKAGED:
        return _PACKAGED[spec]()
    if kind == f"elpv-{N_NORMAL}":
        return draw_elpv(_draw_seed(spec, rest))
    if kind in _IN_FOLDERS and rest:
        return _IN_FOLDERS[kind](Path(rest).expanduser(), split)
    if Path(spec).is_dir():
        raise InputError(f"unknown data set '{spec}': for a folder of images use folder:{spec}")
    raise InputError(f"unknown data set '{spec}': expected one of {', '.join(SPECS)}")


def _draw_seed(spec: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InputError(
            f"'{spec}' does not name a draw: use elpv-{N_NORMAL} (seed {SPLIT_SEED}) or a whole "
            f"number, elpv-{N_NORMAL}:0 for example"
        )
    return int(text)
