"""A user's own images: `good/`, any other sub-folder is a defect type, masks are optional.

```
PATH/good/*.png
PATH/TYPE/NAME.png
PATH/ground_truth/TYPE/NAME.png     optional; non-zero = defective; NAME_mask.png is read too
```

A tree that is laid out nearly so is refused rather than read: masks taken for defective images, or
images that are left out, would change every figure without a word.
"""

from __future__ import annotations

from pathlib import Path

from zsad.data.files import ImageFileDataset, ImageItem, find_image, is_image
from zsad.data.types import GOOD
from zsad.errors import InputError

_MASKS = "ground_truth"
_EXPECTED = "expected good/ with images and one sub-folder per defect type"
_LIKE_GOOD = ("good", "normal", "ok")
_LIKE_MASKS = ("groundtruth", "gt", "mask", "masks")
_MASK_ENDINGS = ("_gt", "_label", "_mask")


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
    if not any(_images(folder) for folder in types):
        raise InputError(
            f"data folder {path} holds no image folders: {_EXPECTED}, found {_found(visible)}"
        )
    _check_names(path, [folder.name for folder in types])
    for folder in types:
        _check_images(folder)
    root = path.resolve()
    items = tuple(
        ImageItem(image, root.name.replace("_", " "), folder.name, _masks_of(path, folder, image))
        for folder in types
        for image in _images(folder)
    )
    return ImageFileDataset(f"folder:{root.name}", items, _has_masks(path, items))


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if is_image(file, folder))


def _found(visible: list[Path]) -> str:
    names = ", ".join(child.name for child in visible[:6]) or "nothing"
    tested = any(child.name == "test" or (child / "test").is_dir() for child in visible)
    return f"{names} (PATH/CLASS/test/TYPE/ is what mvtec:PATH reads)" if tested else names


def _check_names(root: Path, types: list[str]) -> None:
    for name in types:
        if GOOD not in types and name.lower() in _LIKE_GOOD:
            raise InputError(f"data folder {root} has no good/, but {name}/: rename that to good")
        if "".join(filter(str.isalpha, name.lower())) in _LIKE_MASKS:
            raise InputError(
                f"{root / name} would be a defect type, but looks like masks: "
                f"they belong in {root / _MASKS}/TYPE/NAME.png"
            )


def _check_images(folder: Path) -> None:
    deeper = sorted(file for file in folder.glob("*/**/*") if is_image(file, folder))
    if deeper:
        raise InputError(
            f"{deeper[0]} lies too deep: images are read from {folder}, not from its sub-folders"
        )
    stems = {image.stem for image in _images(folder)}
    for ending in _MASK_ENDINGS:
        beside = sorted(stem for stem in stems if stem + ending in stems)
        if beside:
            mask = f"{beside[0]}{ending}"
            raise InputError(
                f"{folder / mask} would be an image, but looks like a mask: "
                f"move it to {folder.parent / _MASKS / folder.name}"
            )


def _masks_of(root: Path, folder: Path, image: Path) -> tuple[Path, ...]:
    if folder.name == GOOD:
        return ()
    masks = root / _MASKS / folder.name
    return find_image(masks / image.stem) or find_image(masks / f"{image.stem}_mask")


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
