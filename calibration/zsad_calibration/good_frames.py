"""Frames of good parts from a folder or a data set, each picture counted once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsad.data import open_dataset
from zsad.errors import InputError
from zsad.images import Scale16, frame_sha256, list_images, read_image
from zsad.types import ImageU8


@dataclass(frozen=True)
class GoodFrame:
    """A frame of a good part, (H, W, 3) uint8 BGR; `name` is as `zsad-eval --exclude` knows it."""

    name: str
    frame_bgr: ImageU8


def good_frames(
    good: str, seed: int = 0, shuffle: bool = False, scale_16bit: Scale16 | None = None
) -> Iterator[GoodFrame]:
    """Yield the frames of good parts, in the order of their source or shuffled with `seed`.

    Args:
        good: A folder of images that all show good parts, or the spec of a data set, of which the
            frames labelled good are taken.
        seed: Seed of the order.
        shuffle: Whether to shuffle, for whoever takes the first few.
        scale_16bit: How deeper images of a folder become 8 bits, see `zsad.images.read_image`.

    Raises:
        InputError: The folder or data set cannot be opened, a file in it is not an image, or a
            scale is given for a data set, whose loader takes 8 bits. Nothing is skipped: a bound
            from the parts that are left would be about other parts.
    """
    if Path(good).is_dir():
        paths = list_images(good)
        for index in _order(len(paths), seed, shuffle):
            yield GoodFrame(_name(paths[index]), read_image(paths[index], scale_16bit))
        return
    if scale_16bit is not None:
        raise InputError("--scale-16bit is for a folder of good parts, not for a data set")
    dataset = open_dataset(good, seed=seed)
    for index in _order(len(dataset), seed, shuffle):
        sample = dataset[index]
        if sample.label == 0:
            yield GoodFrame(sample.name, sample.image_bgr)


class UniqueFrames:
    """Passes each distinct picture once and remembers every name that was met.

    Attributes:
        names: Names of all frames, repeated pictures included: none may be used for testing.
    """

    def __init__(self, frames: Iterator[GoodFrame], limit: int | None = None) -> None:
        """Read from `frames` until `limit` distinct pictures were passed."""
        if limit is not None and limit < 1:
            raise InputError(f"--limit {limit} leaves no good frame: use 1 or more")
        self._frames = frames
        self._limit = limit
        self.names: list[str] = []

    def __iter__(self) -> Iterator[GoodFrame]:
        """Yield the distinct pictures; two frames are one picture if their pixels are equal."""
        seen: set[str] = set()
        for frame in self._frames:
            self.names.append(frame.name)
            digest = frame_sha256(frame.frame_bgr)
            if digest not in seen:
                seen.add(digest)
                yield frame
            if len(seen) == self._limit:
                return


def _order(count: int, seed: int, shuffle: bool) -> list[int]:
    if not shuffle:
        return list(range(count))
    return [int(index) for index in np.random.default_rng(seed).permutation(count)]


def _name(path: Path) -> str:
    # As `folder:` names its samples, so that a list made from PATH/good fits folder:PATH.
    return "/".join(path.absolute().with_suffix("").parts[-2:])
