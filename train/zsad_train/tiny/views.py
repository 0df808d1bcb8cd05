"""How pictures are changed before a step looks at them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from zsad.data.types import GOOD
from zsad.types import ArrayBool, ImageU8
from zsad_train.tiny.cache import Cache

_NEGATIVE_SHARE = 0.3
_GREY_SHARE = 0.2
_WHOLE = (0.7, 1.25)
_NEAR = (0.3, 0.7)
"""Of the side, how much a cut shows."""


@dataclass(frozen=True)
class Views:
    """Shares of the images that are changed in a way that not every image is.

    Attributes:
        overlaid: Share of the images that another normal image is laid over: surfaces and clutter
            that no class has, and that are no defect.
        warped: Share of the images that are turned by any angle, stretched and sheared.
        degraded: Share of the images that lose sharpness, or gain noise or compression blocks.
        closer: Share of the images that are seen from nearby: a cut of 30 to 70 % of the side.
    """

    overlaid: float = 0.0
    warped: float = 0.0
    degraded: float = 0.0
    closer: float = 0.0


def view(
    rng: np.random.Generator, cache: Cache, index: int, target: int, views: Views
) -> tuple[ImageU8, ArrayBool, bool]:
    """One sample as a step sees it: (target, target, 3) BGR, its mask, whether it is a negative."""
    # Without a share nothing is drawn for it, so that the stages before it keep their views.
    near = views.closer > 0 and rng.random() < views.closer
    image, mask = _cut_out(rng, cache, index, target, _NEAR if near else _WHOLE)
    if rng.random() < views.overlaid:
        other = _cut_out(rng, cache, _normal_index(rng, cache), target, _WHOLE)[0]
        image = _overlay(rng, image, _recolour(rng, other))
    if rng.random() < views.warped:
        image, mask = _warp(rng, image, mask)
    negative = bool(rng.random() < _NEGATIVE_SHARE)
    image = _expose(rng, _recolour(rng, 255 - image if negative else image))
    if rng.random() < views.degraded:
        image = _degrade(rng, image)
    return np.ascontiguousarray(image), mask, negative


def _cut_out(
    rng: np.random.Generator,
    cache: Cache,
    index: int,
    target: int,
    share: tuple[float, float],
) -> tuple[ImageU8, ArrayBool]:
    """Cut out and turn one sample: (target, target, 3) and its mask."""
    image: ImageU8 = cache.images[index]
    side = image.shape[0]
    mask = np.unpackbits(cache.masks[index], axis=-1, count=side).astype(np.bool_)
    cut = min(int(side * rng.uniform(*share)), side)
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
