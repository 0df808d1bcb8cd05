"""Seeded batches from a cache: step n is the same batch in every run, resumed or not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from zsad.data.types import GOOD
from zsad.types import ArrayBool, ArrayF32, ImageU8
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

_GENERIC_SHARE = 0.4
_NEGATIVE_SHARE = 0.3
_GREY_SHARE = 0.2


@dataclass(frozen=True)
class Views:
    """How pictures are changed before a step looks at them.

    Attributes:
        overlaid: Share of the images that another normal image is laid over: surfaces and clutter
            that no class has, and that are no defect.
        warped: Share of the images that are turned by any angle, stretched and sheared.
        degraded: Share of the images that lose sharpness, or gain noise or compression blocks.
    """

    overlaid: float = 0.0
    warped: float = 0.0
    degraded: float = 0.0


@dataclass(frozen=True)
class Batch:
    """What one step learns from, or one shard of it.

    Attributes:
        images: (B, 3, S, S) float32, normalised RGB.
        covered: (B, P) float32, the defective share of each patch, row by row.
        labels: (B,) long, 1 anomalous.
        types: (B,) long, index into `SEEN_TYPES`, -1 for normal.
        classes: B class names.
        captions: B sentences.
        generic: (B,) bool, captions that name no class.
    """

    images: torch.Tensor
    covered: torch.Tensor
    labels: torch.Tensor
    types: torch.Tensor
    classes: tuple[str, ...]
    captions: tuple[str, ...]
    generic: torch.Tensor


def shard(batch: Batch, number: int, of: int) -> Batch:
    """Every `of`-th sample of a batch, from `number` on."""
    part = slice(number, None, of)
    return Batch(
        images=batch.images[part],
        covered=batch.covered[part],
        labels=batch.labels[part],
        types=batch.types[part],
        classes=batch.classes[part],
        captions=batch.captions[part],
        generic=batch.generic[part],
    )


def normalise(image_bgr: ImageU8) -> ArrayF32:
    """(S, S, 3) uint8 BGR to (3, S, S) float32 normalised RGB."""
    rgb = image_bgr[..., ::-1].astype(np.float32) / np.float32(255)
    scaled = (rgb - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def patch_cover(mask: ArrayBool, patch_px: int = PATCH) -> ArrayF32:
    """The defective share of every patch: (P,) float32, row by row."""
    grid = mask.shape[0] // patch_px
    blocks = mask.astype(np.float32).reshape(grid, patch_px, grid, patch_px)
    return np.asarray(blocks.mean((1, 3)).reshape(-1), np.float32)


def batches(
    cache: Cache, config: TinyConfig, views: Views, size: int, seed: int, steps: range
) -> Iterator[Batch]:
    """The batches of the given steps, each made while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(_make, cache, config, views, size, seed, steps[0])] if steps else []
        for step in steps:
            ready = waiting.pop().result()
            if step + 1 in steps:
                waiting.append(pool.submit(_make, cache, config, views, size, seed, step + 1))
            yield ready


def _make(cache: Cache, config: TinyConfig, views: Views, size: int, seed: int, step: int) -> Batch:
    per_epoch = len(cache) // size
    order = np.random.default_rng([seed, 1, step // per_epoch]).permutation(len(cache))
    chosen = order[step % per_epoch * size :][:size]
    rng = np.random.default_rng([seed, 2, step])
    pictures, covers, captions, generic = [], [], [], []
    for index in chosen:
        image, mask = _view(rng, cache, int(index), config.image_size)
        if rng.random() < views.overlaid:
            other = _view(rng, cache, _normal_index(rng, cache), config.image_size)[0]
            image = _overlay(rng, image, _recolour(rng, other))
        if rng.random() < views.warped:
            image, mask = _warp(rng, image, mask)
        negative = bool(rng.random() < _NEGATIVE_SHARE)
        image = _expose(rng, _recolour(rng, 255 - image if negative else image))
        if rng.random() < views.degraded:
            image = _degrade(rng, image)
        pictures.append(normalise(image))
        covers.append(patch_cover(mask))
        caption, plain = _caption(rng, cache, int(index), negative)
        captions.append(caption)
        generic.append(plain)
    names = [cache.defect_types[i] for i in chosen]
    return Batch(
        images=torch.from_numpy(np.stack(pictures)),
        covered=torch.from_numpy(np.stack(covers)),
        labels=torch.tensor([int(name != GOOD) for name in names]),
        types=torch.tensor([SEEN_TYPES.index(name) if name != GOOD else -1 for name in names]),
        classes=tuple(cache.class_names[i] for i in chosen),
        captions=tuple(captions),
        generic=torch.tensor(generic),
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


def _view(
    rng: np.random.Generator, cache: Cache, index: int, target: int
) -> tuple[ImageU8, ArrayBool]:
    """Cut out and turn one sample: (target, target, 3) and its mask."""
    image: ImageU8 = cache.images[index]
    side = image.shape[0]
    mask = np.unpackbits(cache.masks[index], axis=-1, count=side).astype(np.bool_)
    cut = min(int(side * rng.uniform(0.7, 1.25)), side)
    top, left = _corner(rng, mask, cut)
    image = np.asarray(image[top : top + cut, left : left + cut])
    mask = mask[top : top + cut, left : left + cut]
    if cut != target:
        scaling = cv2.INTER_AREA if cut > target else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (target, target), interpolation=scaling), np.uint8)
        cover = cv2.resize(mask.astype(np.float32), (target, target), interpolation=scaling)
        mask = np.asarray(cover >= 0.5)
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    if flip:
        image, mask = image[:, ::-1], mask[:, ::-1]
    return np.asarray(image, np.uint8), np.ascontiguousarray(mask)


def _corner(rng: np.random.Generator, mask: ArrayBool, cut: int) -> tuple[int, int]:
    """Where to cut: anywhere on a normal image, around a defective pixel on others."""
    room = mask.shape[0] - cut
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        return int(rng.integers(room + 1)), int(rng.integers(room + 1))
    pick = int(rng.integers(rows.size))
    top = int(rows[pick] - cut * rng.uniform(0.15, 0.85))
    left = int(columns[pick] - cut * rng.uniform(0.15, 0.85))
    return min(max(top, 0), room), min(max(left, 0), room)


def _normal_index(rng: np.random.Generator, cache: Cache) -> int:
    while True:
        index = int(rng.integers(len(cache)))
        if cache.defect_types[index] == GOOD:
            return index


def _overlay(rng: np.random.Generator, image: ImageU8, other: ImageU8) -> ImageU8:
    """Add the detail of another picture, or shade with it; defects stay where they are."""
    detail = other.astype(np.float32) - other.mean((0, 1), dtype=np.float32)
    strength = np.float32(rng.uniform(0.1, 0.6))
    below = image.astype(np.float32)
    mixed = below + strength * (detail if rng.random() < 0.5 else below * detail / 128)
    return np.asarray(mixed.clip(0, 255), np.uint8)


def _warp(rng: np.random.Generator, image: ImageU8, mask: ArrayBool) -> tuple[ImageU8, ArrayBool]:
    side = image.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-45, 45), 1.0)[:, :2]
    bend = np.array([[np.exp(rng.normal(0, 0.15)), rng.normal(0, 0.15)], [0, 1.0]])
    bend[1, 1] = np.exp(rng.normal(0, 0.15))
    linear = turn @ bend
    shift = side / 2 * (1 - linear.sum(axis=1, keepdims=True))  # the middle stays
    matrix = np.concatenate([linear, shift], axis=1)
    # One warp for both: the mask is a fourth channel.
    both = np.dstack([image, np.where(mask, 255, 0).astype(np.uint8)])
    warped = cv2.warpAffine(both, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    pixels = np.asarray(warped, np.uint8)
    return np.ascontiguousarray(pixels[..., :3]), np.asarray(pixels[..., 3] >= 128)


def _recolour(rng: np.random.Generator, image: ImageU8) -> ImageU8:
    """Swap channels or drop colour: another material with the same relief."""
    if rng.random() < _GREY_SHARE:
        return np.repeat(image[..., 1:2], 3, axis=2)
    return image[..., rng.permutation(3)]


def _expose(rng: np.random.Generator, image: ImageU8) -> ImageU8:
    gains = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.06, 3))
    levels = np.arange(256)[:, None] / 255
    table = np.clip(255 * gains * levels ** np.exp(rng.normal(0, 0.15)), 0, 255)
    lookup = np.ascontiguousarray(table.astype(np.uint8)[:, None, :])
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), lookup), np.uint8)


def _degrade(rng: np.random.Generator, image: ImageU8) -> ImageU8:
    """One of what cameras and their streams do: blur, fewer pixels, noise, compression."""
    kind, side = int(rng.integers(4)), image.shape[0]
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5)), np.uint8)
    if kind == 1:
        small = int(side * rng.uniform(0.4, 0.8))
        fewer = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        blurred = cv2.resize(fewer, (side, side), interpolation=cv2.INTER_LINEAR)
        return np.asarray(blurred, np.uint8)
    if kind == 2:
        noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(2, 14))
        return np.asarray((image + noise).clip(0, 255), np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
    packed = cv2.imencode(".jpg", image, quality)[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
