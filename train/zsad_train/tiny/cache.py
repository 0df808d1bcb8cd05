"""Generated samples kept on disk as flat arrays, because drawing them is slower than training."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from zsad.data.synthetic import SyntheticDataset
from zsad.data.types import Sample
from zsad_train.tiny.grains import GRAINS, Grains
from zsad_train.tiny.photographs import PHOTOGRAPHS, Photographs

_Dataset = SyntheticDataset | Photographs | Grains

_MANY = 1000
"""From here on starting processes pays."""


class Rows(Protocol):
    """Arrays by number, as a mapped array gives them."""

    def __getitem__(self, index: int, /) -> npt.NDArray[np.uint8]:
        """Row `index`."""


@dataclass(frozen=True)
class Cache:
    """Samples in the generator's order, of one split or of several one after the other.

    Attributes:
        images: n of (S, S, 3) uint8 BGR, mapped from disk.
        masks: n of (S, S / 8) uint8, one bit per pixel, packed along the last axis.
        class_names: n class names.
        defect_types: n defect types, `good` for a normal sample.
        captions: n captions.
    """

    images: Rows
    masks: Rows
    class_names: tuple[str, ...]
    defect_types: tuple[str, ...]
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.captions)


class _Mapped:
    """An array on disk; a copy of it in another process maps the file again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r")

    def __reduce__(self) -> tuple[type[_Mapped], tuple[Path]]:
        return _Mapped, (self._path,)

    def __getitem__(self, index: int, /) -> npt.NDArray[np.uint8]:
        row: npt.NDArray[np.uint8] = self._rows[index]
        return row


class _Chained:
    """Rows of several arrays, one after the other, each left on disk."""

    def __init__(self, parts: Sequence[Rows], sizes: Sequence[int]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *sizes])

    def __getitem__(self, index: int, /) -> npt.NDArray[np.uint8]:
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[part][index - int(self._starts[part])]


def chained(caches: Sequence[Cache]) -> Cache:
    """Several caches as one, in the order given."""
    sizes = [len(cache) for cache in caches]
    return Cache(
        images=_Chained([cache.images for cache in caches], sizes),
        masks=_Chained([cache.masks for cache in caches], sizes),
        class_names=tuple(name for cache in caches for name in cache.class_names),
        defect_types=tuple(name for cache in caches for name in cache.defect_types),
        captions=tuple(caption for cache in caches for caption in cache.captions),
    )


def open_cache(folder: Path, split: str, count: int, seed: int, size: int) -> Cache:
    """Map the cache of a split, drawing it first if it is not there."""
    home = folder / f"{split}-{count}-{seed}-{size}"
    if not home.is_dir():
        _draw(home, _dataset(split, count, seed, size))
    words = json.loads((home / "words.json").read_text("utf-8"))
    return Cache(
        images=_Mapped(home / "images.npy"),
        masks=_Mapped(home / "masks.npy"),
        class_names=tuple(words["class_names"]),
        defect_types=tuple(words["defect_types"]),
        captions=tuple(words["captions"]),
    )


def _dataset(split: str, count: int, seed: int, size: int) -> _Dataset:
    if split == PHOTOGRAPHS:
        return Photographs(count, seed, size)
    if split == GRAINS:
        return Grains(count, seed, size)
    return SyntheticDataset(split, count, seed, size)


def _samples(dataset: _Dataset) -> Iterator[Sample]:
    """Every sample in order, drawn on all cores where there are many."""
    indices = range(len(dataset))
    bar = partial(tqdm, total=len(dataset), desc=f"drawing {dataset.name}", mininterval=5)
    if len(dataset) < _MANY:
        yield from bar(map(dataset.__getitem__, indices))
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield from bar(pool.map(dataset.__getitem__, indices, chunksize=32))


def _draw(home: Path, dataset: _Dataset) -> None:
    unfinished = home.with_name(f"{home.name}.{os.getpid()}.part")
    unfinished.mkdir(parents=True)
    count, size = len(dataset), dataset.size
    images = np.lib.format.open_memmap(
        unfinished / "images.npy", "w+", np.uint8, (count, size, size, 3)
    )
    masks = np.lib.format.open_memmap(
        unfinished / "masks.npy", "w+", np.uint8, (count, size, -(-size // 8))
    )
    words: dict[str, list[str]] = {"class_names": [], "defect_types": [], "captions": []}
    for index, sample in enumerate(_samples(dataset)):
        assert sample.mask is not None
        images[index] = sample.image_bgr
        masks[index] = np.packbits(sample.mask, axis=-1)
        words["class_names"].append(sample.class_name)
        words["defect_types"].append(sample.defect_type)
        words["captions"].append(sample.caption)
    images.flush()
    masks.flush()
    (unfinished / "words.json").write_text(json.dumps(words), "utf-8")
    unfinished.rename(home)
