"""Frames of good parts from a folder or a data set, each part counted once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zsad.data import open_dataset
from zsad.errors import InputError
from zsad.images import Scale16, frame_sha256, list_images, read_image
from zsad.types import ArrayBool, ImageU8
from zsad_calibration.duplicates import Parts


@dataclass(frozen=True)
class GoodFrame:
    """A frame of a good part, (H, W, 3) uint8 BGR.

    `name` is as `zsad-eval --exclude` knows it; frames of one `part` show the same one.
    """

    name: str
    frame_bgr: ImageU8
    part: int = 0


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
    """Passes each distinct picture once, numbers the parts, and remembers every name that was met.

    Attributes:
        names: Names of all frames, repeated pictures included: none may be used for testing.
        parts: Distinct parts so far.
    """

    def __init__(
        self,
        frames: Iterator[GoodFrame],
        limit: int | None = None,
        each_a_part: bool = False,
        region: ArrayBool | None = None,
    ) -> None:
        """Read from `frames` until `limit` distinct parts were passed.

        Args:
            frames: Good parts.
            limit: Parts to pass; None for all.
            each_a_part: Whether every distinct picture is known to be a part of its own.
            region: Cells of the thumbnails to compare, see `zsad_calibration.duplicates.Parts`.
        """
        if limit is not None and limit < 1:
            raise InputError(f"--limit {limit} leaves no good frame: use 1 or more")
        self._frames = frames
        self._limit = limit
        self._each_a_part = each_a_part
        self._numbers = Parts(region)
        self.names: list[str] = []
        self.parts = 0

    @property
    def repeated(self) -> int:
        """Frames so far beyond the first of each part."""
        return len(self.names) - self.parts

    def __iter__(self) -> Iterator[GoodFrame]:
        """Yield the distinct pictures, with the part that each shows."""
        seen: set[str] = set()
        for frame in self._frames:
            self.names.append(frame.name)
            digest = frame_sha256(frame.frame_bgr)
            if digest not in seen:
                seen.add(digest)
                part = self._part_of(frame)
                self.parts = max(self.parts, part + 1)
                yield replace(frame, part=part)
            if self.parts == self._limit:
                return

    def _part_of(self, frame: GoodFrame) -> int:
        return self.parts if self._each_a_part else self._numbers.number_of(frame.frame_bgr)


def _order(count: int, seed: int, shuffle: bool) -> list[int]:
    if not shuffle:
        return list(range(count))
    return [int(index) for index in np.random.default_rng(seed).permutation(count)]


def _name(path: Path) -> str:
    # As `folder:` names its samples, so that a list made from PATH/good fits folder:PATH.
    return "/".join(path.absolute().with_suffix("").parts[-2:])
