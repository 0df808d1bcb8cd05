"""Frames to calibrate INT8 on: any folder, any data set, or the generator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zsad.data import open_dataset
from zsad.errors import InputError
from zsad.images import list_images, read_image
from zsad.preprocess import PreprocessSpec, resize_exact
from zsad.types import ImageU8

_GENERATED = "synthetic"

_SEED = 31_415
"""Of the choice and of generated frames: not the golden frames' own, which judge the result."""


def calibration_images(source: str | None, count: int, spec: PreprocessSpec) -> tuple[ImageU8, ...]:
    """Return frames at the model's size, (H, W, 3) uint8 BGR, through the runtime's own resize.

    Args:
        source: A folder of images of the line, good parts or all; or the spec of a data set; None
            for generated ones, of the split that is trained on.
        count: How many; a seeded choice of them, all if there are no more.
        spec: The preprocessing.

    Raises:
        InputError: The folder or data set cannot be opened, holds nothing, or a chosen image cannot
            be read.
    """
    return tuple(resize_exact(frame, spec) for frame in _frames(source, count))


def _frames(source: str | None, count: int) -> Iterator[ImageU8]:
    if source is not None and Path(source).is_dir():
        paths = list_images(source)
        for index in _choice(len(paths), count):
            yield read_image(paths[index])
        return
    if source is not None and os.sep in source and ":" not in source:
        raise InputError(f"{source} is no folder: name one of images, or a data set")
    dataset = open_dataset(source or _GENERATED, split=_split(source), seed=_SEED, limit=count)
    for index in range(len(dataset)):
        yield dataset[index].image_bgr


def _split(source: str | None) -> str:
    # Generated data has a split to train on; most sets of files have only their test split.
    return "train" if source is None or source.startswith("synthetic") else "test"


def _choice(available: int, count: int) -> list[int]:
    order = np.random.default_rng(_SEED).permutation(available)[:count]
    return sorted(order.tolist())
