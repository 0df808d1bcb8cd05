"""A data set of image files, with or without mask files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from zsad.data.choice import fair_choice
from zsad.data.types import GOOD, Sample
from zsad.errors import InputError
from zsad.images import SUFFIXES, read_image
from zsad.types import Array, ArrayBool


@dataclass(frozen=True)
class ImageItem:
    """One image file and what is known about it.

    Attributes:
        path: The image.
        class_name: Its class.
        defect_type: `good` for a normal image.
        mask_paths: Its masks, where it has any; a pixel in one of them is defective.
        name: Unique in its set; empty for the folder and stem of `path`.
    """

    path: Path
    class_name: str
    defect_type: str
    mask_paths: tuple[Path, ...] = ()
    name: str = ""

    @property
    def label(self) -> int:
        """0 normal, 1 anomalous."""
        return int(self.defect_type != GOOD)

    @property
    def sample_name(self) -> str:
        """The name of its sample."""
        return self.name or "/".join(self.path.with_suffix("").parts[-2:])


def is_image(path: Path, root: Path) -> bool:
    """Whether a path below `root` is an image file and nothing on its way is hidden."""
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in SUFFIXES and path.is_file() and not hidden


def find_image(stem: Path) -> tuple[Path, ...]:
    """Return the image file of this path without suffix, a PNG if there are several, or nothing."""
    for suffix in sorted(SUFFIXES, key=lambda each: each != ".png"):
        for written in (suffix, suffix.upper()):
            path = stem.with_name(stem.name + written)
            if path.is_file():
                return (path,)
    return ()


@dataclass(frozen=True)
class ImageFileDataset:
    """Images read from files when they are asked for.

    A normal image of a set with masks has an empty mask; in a set without, every mask is None.
    """

    name: str
    items: tuple[ImageItem, ...]
    has_masks: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in the set, sorted."""
        return tuple(sorted({item.class_name for item in self.items}))

    @property
    def defect_types(self) -> tuple[str, ...]:
        """The defect types in the set, sorted."""
        return tuple(sorted({item.defect_type for item in self.items} - {GOOD}))

    @property
    def labels(self) -> tuple[int, ...]:
        """The label of every sample, without reading any image."""
        return tuple(item.label for item in self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.items):
            raise IndexError(f"sample {index} of {len(self.items)}")
        item = self.items[index]
        image = read_image(item.path)
        return Sample(
            image_bgr=image,
            mask=_read_mask(item, image.shape[:2]) if self.has_masks else None,
            label=item.label,
            class_name=item.class_name,
            defect_type=item.defect_type,
            name=item.sample_name,
        )

    def check_names(self) -> None:
        """Check that names tell the samples apart, before a run has judged half of them.

        Raises:
            InputError: Two have one name, as `0.png` and `0.bmp` of one folder have.
        """
        known: dict[str, Path] = {}
        for item in self.items:
            other = known.setdefault(item.sample_name, item.path)
            if other is not item.path:
                raise InputError(
                    f"two images are named '{item.sample_name}', {other} and {item.path}: "
                    "names without suffix must tell images apart"
                )

    def limited(self, limit: int | None, seed: int) -> ImageFileDataset:
        """A seeded random subset of `limit` samples with its share of each label and class."""
        if limit is None or limit >= len(self.items):
            return self
        classes = [item.class_name for item in self.items]
        chosen = fair_choice(self.labels, classes, limit, seed)
        return replace(self, items=tuple(self.items[i] for i in chosen))


def _read_mask(item: ImageItem, shape: tuple[int, ...]) -> ArrayBool:
    mask = np.zeros(shape, np.bool_)
    for path in item.mask_paths:
        levels = _mask_levels(path)
        if levels.shape != shape:
            raise InputError(
                f"mask {path} is {levels.shape[1]}x{levels.shape[0]} px, its image "
                f"{shape[1]}x{shape[0]} px: they must be equal"
            )
        mask |= np.greater(levels, _floor(path))
    return mask


def _floor(path: Path) -> int:
    # The zeros of a lossy file are not exact: Kvasir's authors ship such masks.
    return 127 if path.suffix.lower() in (".jpg", ".jpeg") else 0


def _mask_levels(path: Path) -> Array:
    # A mask keeps its depth: scaled to 8 bits, region numbers of a 16-bit mask would vanish.
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if pixels is None:
        raise InputError(f"{path} is not an image that OpenCV can read")
    return np.asarray(pixels[..., :3].max(axis=2) if pixels.ndim == 3 else pixels)
