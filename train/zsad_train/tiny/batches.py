"""Seeded batches from a cache: step n is the same batch in every run, resumed or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zsad.data.types import GOOD
from zsad.types import ArrayBool, ArrayF32
from zsad_train.tiny.cache import Cache
from zsad_train.tiny.config import MEAN, STD, TinyConfig
from zsad_train.tiny.phrases import (
    GENERIC_NOUNS,
    SEEN_TYPES,
    with_noun,
    with_tones_swapped,
    without_place,
)
from zsad_train.tiny.stem import PATCH
from zsad_train.tiny.views import Views, view

_GENERIC_SHARE = 0.4


@dataclass(frozen=True)
class Batch:
    """What one step learns from, or one shard of it.

    Attributes:
        images: (B, S, S, 3) uint8 BGR.
        covered: (B, P) float32, the defective share of each patch, row by row.
        labels: (B,) long, 1 anomalous.
        types: (B,) long, index into `SEEN_TYPES`, -1 for normal.
        classes: B class names.
        captions: B sentences.
        generic: (B,) bool, captions that name no class.
    """

    images: Tensor
    covered: Tensor
    labels: Tensor
    types: Tensor
    classes: tuple[str, ...]
    captions: tuple[str, ...]
    generic: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch, its tensors on `device`."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if _moves(value)}
        return replace(self, **tensors)


def _moves(value: object) -> bool:
    return isinstance(value, Tensor)


def shard(batch: Batch, number: int, of: int) -> Batch:
    """Every `of`-th sample of a batch, from `number` on."""
    part = slice(number, None, of)
    return Batch(**{name: value[part] for name, value in vars(batch).items()})


def normalised(images: Tensor) -> Tensor:
    """(B, S, S, 3) uint8 BGR to (B, 3, S, S) float32 RGB as the backbone takes it."""
    mean, std = (torch.tensor(each, device=images.device) for each in (MEAN, STD))
    rgb = (images.flip(-1).float() / 255 - mean) / std
    return rgb.permute(0, 3, 1, 2).contiguous()


def patch_cover(mask: ArrayBool, patch_px: int = PATCH) -> ArrayF32:
    """The defective share of every patch: (P,) float32, row by row."""
    grid = mask.shape[0] // patch_px
    blocks = mask.astype(np.float32).reshape(grid, patch_px, grid, patch_px)
    return np.asarray(blocks.mean((1, 3)).reshape(-1), np.float32)


@dataclass(frozen=True)
class _Steps(Dataset[Batch]):
    """The batch of every step, by its number."""

    cache: Cache
    config: TinyConfig
    views: Views
    size: int
    seed: int

    def __getitem__(self, step: int) -> Batch:
        per_epoch = len(self.cache) // self.size
        order = np.random.default_rng([self.seed, 1, step // per_epoch])
        shuffled = order.permutation(len(self.cache)).tolist()
        chosen = shuffled[step % per_epoch * self.size :][: self.size]
        rng = np.random.default_rng([self.seed, 2, step])
        return _stacked(self.cache, chosen, [self._sample(rng, i) for i in chosen])

    def _sample(self, rng: np.random.Generator, index: int) -> _Drawn:
        image, mask, negative = view(
            rng, self.cache, int(index), self.config.image_size, self.views
        )
        caption, generic = _caption(rng, self.cache, int(index), negative)
        return _Drawn(torch.from_numpy(image), patch_cover(mask), caption, generic)


@dataclass(frozen=True)
class _Drawn:
    image: Tensor
    covered: ArrayF32
    caption: str
    generic: bool


def batches(
    cache: Cache,
    config: TinyConfig,
    views: Views,
    size: int,
    seed: int,
    steps: range,
    workers: int = 0,
) -> Iterator[Batch]:
    """The batches of the given steps; worker processes make them ahead, if there are any."""
    drawn = _Steps(cache, config, views, size, seed)
    # A range is all that the loader needs of a sampler.
    return iter(DataLoader(drawn, batch_size=None, sampler=steps, num_workers=workers))


def _stacked(cache: Cache, chosen: list[int], drawn: list[_Drawn]) -> Batch:
    names = [cache.defect_types[i] for i in chosen]
    return Batch(
        images=torch.stack([each.image for each in drawn]),
        covered=torch.from_numpy(np.stack([each.covered for each in drawn])),
        labels=torch.tensor([int(name != GOOD) for name in names]),
        types=torch.tensor([SEEN_TYPES.index(name) if name != GOOD else -1 for name in names]),
        classes=tuple(cache.class_names[i] for i in chosen),
        captions=tuple(each.caption for each in drawn),
        generic=torch.tensor([each.generic for each in drawn]),
    )


def _caption(
    rng: np.random.Generator, cache: Cache, index: int, negative: bool
) -> tuple[str, bool]:
    caption, name = without_place(cache.captions[index]), cache.class_names[index]
    if negative:
        caption = with_tones_swapped(caption)
    if rng.random() >= _GENERIC_SHARE:
        return caption, name not in caption  # photographs are captioned "surface" or "object"
    noun = GENERIC_NOUNS[int(rng.integers(len(GENERIC_NOUNS)))]
    return with_noun(caption, name, noun), True
