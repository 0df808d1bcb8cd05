"""A user's own images: `good/`, any other sub-folder is a defect type, masks are optional.

```
PATH/good/*.png
PATH/TYPE/NAME.png
PATH/ground_truth/TYPE/NAME.png     optional; non-zero = defective; NAME_mask.png is read too
```
"""

from __future__ import annotations

from pathlib import Path

from zsad.data.files import ImageFileDataset, ImageItem
from zsad.data.types import GOOD
from zsad.errors import InputError
from zsad.images import SUFFIXES

_MASKS = "ground_truth"
_EXPECTED = "expected good/ with images and one sub-folder per defect type"


def open_folder(path: Path) -> ImageFileDataset:
    """Open a folder of images; the class is named after the folder.

    Raises:
        InputError: The folder is missing, is laid out differently, or only some of its defects
            have masks.
    """
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise InputError(f"data folder {path} {found}: {_EXPECTED}")
    visible = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    types = [child for child in visible if child.is_dir() and child.name != _MASKS]
    if not types or not any(_images(folder) for folder in types):
        found = ", ".join(child.name for child in visible[:6]) or "nothing"
        raise InputError(f"data folder {path} holds no image folders: {_EXPECTED}, found {found}")
    class_name = path.resolve().name.replace("_", " ")
    items = tuple(
        ImageItem(image, class_name, folder.name, _masks_of(path, folder.name, image))
        for folder in types
        for image in _images(folder)
    )
    return ImageFileDataset(f"folder:{path.name}", items, _has_masks(path, items))


def _images(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    )


def _masks_of(root: Path, defect_type: str, image: Path) -> tuple[Path, ...]:
    if defect_type == GOOD:
        return ()
    folder = root / _MASKS / defect_type
    candidates = (folder / f"{image.stem}.png", folder / f"{image.stem}_mask.png")
    return tuple(mask for mask in candidates if mask.is_file())[:1]


def _has_masks(root: Path, items: tuple[ImageItem, ...]) -> bool:
    if not (root / _MASKS).is_dir():
        return False
    bare = [item for item in items if item.label and not item.mask_paths]
    if bare:
        wanted = root / _MASKS / bare[0].defect_type / f"{bare[0].path.stem}.png"
        raise InputError(
            f"{len(bare)} defective images have no mask, the first is {bare[0].path}: add {wanted} "
            f"or remove {root / _MASKS}"
        )
    return True
