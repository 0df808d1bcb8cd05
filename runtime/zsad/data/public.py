"""Public data sets in the folders that CLIP-based code bases read: one row of a table per set.

Source of the rows: `generate_dataset_json/` of github.com/zqhang/AnomalyCLIP. Some sets are read as
that family rearranges them and not as their authors ship them; docs/data.md shows every tree. Masks
are paired by name, never by sorted order as there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from zsad.data.files import ImageFileDataset, ImageItem, find_image, is_image
from zsad.data.types import GOOD
from zsad.errors import InputError


@dataclass(frozen=True)
class Layout:
    """Where a set keeps its images and masks, relative to its root.

    Attributes:
        images: Globs of the images; `{split}` is replaced.
        masks: Where a mask lies, without suffix; `{object}`, `{type}` and `{stem}` are the image's.
            Empty where the set has no pixel masks.
        normal: A folder above normal images only, empty where every image is anomalous.
        class_name: The class; empty where the first folder names it.
        anomaly: The type of every anomalous image; empty where its folder names it.
    """

    images: tuple[str, ...]
    masks: tuple[str, ...] = ()
    normal: str = ""
    class_name: str = ""
    anomaly: str = ""


_MVTEC = Layout(
    ("*/{split}/*/*",),
    ("{object}/ground_truth/{type}/{stem}_mask", "{object}/ground_truth/{type}/{stem}"),
    GOOD,
)
_COLON = Layout(("images/*",), ("masks/{stem}",), class_name="colon", anomaly="polyp")

_ISIC_MASKS = "ISBI2016_ISIC_Part1_Test_GroundTruth/{stem}_Segmentation"
_ISIC = Layout(
    ("ISBI2016_ISIC_Part1_Test_Data/*",), (_ISIC_MASKS,), class_name="skin", anomaly="lesion"
)

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "mvtec": (_MVTEC,),
    "mpdd": (_MVTEC,),
    "dtd": (_MVTEC,),
    "sdd": (_MVTEC,),
    "btad": (replace(_MVTEC, normal="ok"),),
    "headct": (Layout(("*/{split}/*/*",), (), GOOD, "brain", "haemorrhage"),),
    "br35h": (Layout(("no/*", "yes/*"), (), "no", "brain", "tumour"),),
    "brainmri": (
        Layout(
            ("brain_tumor_dataset/no/*", "brain_tumor_dataset/yes/*"), (), "no", "brain", "tumour"
        ),
    ),
    "lag": (
        Layout(
            ("non_glaucoma/image/*", "suspicious_glaucoma/image/*"),
            (),
            "non_glaucoma",
            "fundus",
            "glaucoma",
        ),
    ),
    "isic": (
        _ISIC,
        replace(_ISIC, images=("skin/test/*/*",), masks=(f"skin/{_ISIC_MASKS}",), normal=GOOD),
    ),
    "colondb": (_COLON,),
    "clinicdb": (_COLON, replace(_COLON, images=("Original/*",), masks=("Ground Truth/{stem}",))),
    "kvasir": (_COLON,),
    "endo": (_COLON,),
    "tn3k": (
        Layout(("test-image/*",), ("test-mask/{stem}",), class_name="thyroid", anomaly="nodule"),
    ),
}
"""The sets by the name that a spec `NAME:PATH` uses; of several layouts the first that fits."""


def open_public(name: str, root: Path, split: str) -> ImageFileDataset:
    """Open a public set below `root`.

    Raises:
        InputError: The folder is laid out differently, or an anomalous image has no mask.
    """
    layouts = LAYOUTS[name]
    if split != "test" and not any("{split}" in p for layout in layouts for p in layout.images):
        raise InputError(f"'{name}' is a test set and has no split '{split}': use split 'test'")
    for layout in layouts:
        images = _images(layout, root, split)
        if images:
            items = tuple(_item(layout, root, path) for path in images)
            return ImageFileDataset(name, items, bool(layout.masks))
    wanted = ", or ".join(
        " and ".join(pattern.format(split=split) for pattern in layout.images) for layout in layouts
    )
    raise InputError(f"{name} folder {root}: expected images {wanted}, found {entries(root)}")


def entries(root: Path) -> str:
    """The first names in a folder, for an error that says what was found."""
    if not root.is_dir():
        return "no such folder"
    return ", ".join(sorted(path.name for path in root.iterdir())[:6]) or "nothing"


def _images(layout: Layout, root: Path, split: str) -> list[Path]:
    patterns = (pattern.format(split=split) for pattern in layout.images)
    found = (path for pattern in patterns for path in sorted(root.glob(pattern)))
    return [path for path in found if is_image(path, root)]


def _item(layout: Layout, root: Path, path: Path) -> ImageItem:
    inner = path.relative_to(root)
    folder, class_name = inner.parts[-2], layout.class_name or inner.parts[0].replace("_", " ")
    name = inner.with_suffix("").as_posix()
    if layout.normal and layout.normal in inner.parts[:-1]:
        return ImageItem(path, class_name, GOOD, (), name)
    masks: tuple[Path, ...] = ()
    if layout.masks:
        names = {"object": inner.parts[0], "type": folder, "stem": path.stem}
        masks = (_mask(root, [rule.format(**names) for rule in layout.masks], path),)
    return ImageItem(path, class_name, layout.anomaly or folder, masks, name)


def _mask(root: Path, stems: list[str], image: Path) -> Path:
    for stem in stems:
        if found := find_image(root / stem):
            return found[0]
    raise InputError(f"{image} has no mask: expected {root / stems[0]}.png")
