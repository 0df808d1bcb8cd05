"""Pillow's resampling in two passes of our own: rows first, on several threads, in every release.

Pillow resamples one axis, rounds to 8 bits, then the other. Up to release 12 the rows came first;
13.0 begins with whichever axis is cheaper, so that a portrait frame comes out otherwise, by up to
26 grey levels (10.1, 12.0 and 13.0 compared). Each pass alone gives the same bits in all of them.

No row of the first pass depends on another, nor a column of the second, so each falls into slices.
On one thread a 1920x1080 frame takes longer than a GPU takes to judge it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from PIL import Image

from zsad.host import usable_cores
from zsad.types import ImageU8

BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR

MOST_THREADS = 8
LEAST_BYTES = 500_000
"""Of a slice: below, handing it over costs more than it saves."""


def resample(
    image: ImageU8,
    height: int,
    width: int,
    kernel: Image.Resampling = BICUBIC,
    threads: int | None = None,
) -> ImageU8:
    """Resize by one of Pillow's antialiased filters, first to the width, then to the height.

    Args:
        image: (H, W) or (H, W, 3) uint8, channels in any order.
        height: Rows of the result.
        width: Columns of the result.
        kernel: The filter.
        threads: How many may work at once; None for every core, `OMP_NUM_THREADS` or 8 at most.

    Returns:
        (height, width) or (height, width, 3) uint8, contiguous.
    """
    slices = max(1, min(threads or _threads(), image.nbytes // LEAST_BYTES, len(image), width))
    rows = np.array_split(image, slices, axis=0)
    narrow = np.concatenate(_each(lambda part: _pass(part, len(part), width, kernel), rows))
    columns = np.array_split(narrow, slices, axis=1)
    parts = _each(lambda part: _pass(part, height, part.shape[1], kernel), columns)
    return np.concatenate(parts, axis=1)


def _pass(image: ImageU8, height: int, width: int, kernel: Image.Resampling) -> ImageU8:
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((width, height), kernel))


def _each(work: Callable[[ImageU8], ImageU8], parts: list[ImageU8]) -> list[ImageU8]:
    first, *others = parts
    begun = [_pool().submit(work, part) for part in others]
    return [work(first), *(each.result() for each in begun)]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_THREADS - 1, thread_name_prefix="zsad-resample")


@cache
def _threads() -> int:
    # The variable by which a process is told its share of a machine, as NumPy and PyTorch take it.
    told = os.environ.get("OMP_NUM_THREADS", "")
    cores = usable_cores()
    return min(int(told) if told.isdecimal() and int(told) else cores, cores, MOST_THREADS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has the pool, not its threads
    os.register_at_fork(after_in_child=_threads.cache_clear)  # and may be told a share of its own
