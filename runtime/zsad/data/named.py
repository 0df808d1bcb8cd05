"""Public sets in which file names tell normal from defective, not folders: DAGM and AITEX."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from zsad.data.files import ImageFileDataset, ImageItem, is_image
from zsad.data.public import entries
from zsad.data.types import GOOD
from zsad.errors import InputError

DAGM_DEFECT = "defect"
AITEX_CLASS = "fabric"
AITEX_TYPES = {
    "002": "broken end",
    "006": "broken yarn",
    "010": "broken pick",
    "016": "weft curling",
    "019": "fuzzy ball",
    "022": "cut selvage",
    "023": "crease",
    "025": "warp ball",
    "027": "knots",
    "029": "contamination",
    "030": "nep",
    "036": "weft crack",
}
"""AITEX's defect types by the code in a file's name, nnnn_CODE_ff.png."""
AITEX_WITHOUT_MASK = ("0100_025_08",)
"""Defective images that the authors ship no mask for; they are left out."""


def open_dagm(root: Path, split: str) -> ImageFileDataset:
    """Open DAGM 2007: `ClassN/Test/0001.PNG`, masks `ClassN/Test/Label/0001_label.PNG`.

    An image is defective if it has a mask.

    Raises:
        InputError: The folder is laid out differently, a class has no `Label/`, or a mask no image.
    """
    phase = split.capitalize()
    images = [path for path in sorted(root.glob(f"*/{phase}/*")) if is_image(path, root)]
    if not images:
        raise InputError(
            f"dagm folder {root}: expected images Class1/{phase}/*.PNG, found {entries(root)}"
        )
    items: list[ImageItem] = []
    for folder in dict.fromkeys(path.parent for path in images):
        items += _dagm_folder(root, folder, [path for path in images if path.parent == folder])
    return ImageFileDataset("dagm", tuple(items), has_masks=True)


def _dagm_folder(root: Path, folder: Path, images: list[Path]) -> list[ImageItem]:
    # Without this check a copy that lost its masks would pass for a set without defects.
    masks = _masks_by_stem(folder / "Label", root)
    if not masks:
        raise InputError(
            f"dagm folder {root}: expected masks {folder.relative_to(root)}/Label/NAME_label.PNG, "
            f"found {entries(folder / 'Label')}"
        )
    alone = sorted(masks.keys() - {path.stem for path in images})
    if alone:
        raise InputError(f"mask {masks[alone[0]][0]} has no image {folder / alone[0]}.PNG")
    return [
        ImageItem(
            path,
            folder.parent.name,
            DAGM_DEFECT if path.stem in masks else GOOD,
            masks.get(path.stem, ()),
            path.relative_to(root).with_suffix("").as_posix(),
        )
        for path in images
    ]


def open_aitex(root: Path, split: str) -> ImageFileDataset:
    """Open AITEX: `NODefect_images/`, `Defect_images/` and `Mask_images/`, with any sub-folders.

    Names are `nnnn_ddd_ff.png`: number, defect code (000 for none), fabric; a mask adds `_mask`,
    `_mask1` or `_mask2`. Images are whole strips, mostly 4096 x 256 px.

    Raises:
        InputError: The folder is laid out differently, a name has no code, a defective image no
            mask, or the split is not `test`.
    """
    if split != "test":
        raise InputError(f"'aitex' is a test set and has no split '{split}': use split 'test'")
    masks = _masks_by_stem(root / "Mask_images", root)
    items: list[ImageItem] = []
    for folder in ("NODefect_images", "Defect_images"):
        images = [path for path in sorted((root / folder).rglob("*")) if is_image(path, root)]
        if not images:
            raise InputError(
                f"aitex folder {root}: expected images {folder}/**/nnnn_ddd_ff.png, "
                f"found {entries(root)}"
            )
        kept = (path for path in images if path.stem not in AITEX_WITHOUT_MASK)
        items += [_aitex_item(root, path, masks) for path in kept]
    return ImageFileDataset("aitex", tuple(items), has_masks=True)


def _aitex_item(root: Path, path: Path, masks: dict[str, tuple[Path, ...]]) -> ImageItem:
    parts = path.stem.split("_")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise InputError(f"{path} is not named nnnn_ddd_ff.png as AITEX's images are")
    name = path.relative_to(root).with_suffix("").as_posix()
    if parts[1] == "000":
        return ImageItem(path, AITEX_CLASS, GOOD, (), name)
    if path.stem not in masks:
        wanted = root / "Mask_images" / f"{path.stem}_mask.png"
        raise InputError(f"{path} has no mask: expected {wanted}")
    defect_type = AITEX_TYPES.get(parts[1], f"type {parts[1]}")
    return ImageItem(path, AITEX_CLASS, defect_type, masks[path.stem], name)


def _masks_by_stem(folder: Path, root: Path) -> dict[str, tuple[Path, ...]]:
    """Masks by the stem of their image, which ends at the last `_`."""
    found: dict[str, tuple[Path, ...]] = defaultdict(tuple)
    for path in sorted(folder.rglob("*")):
        if is_image(path, root):
            found[path.stem.rpartition("_")[0]] += (path,)
    return dict(found)
