"""Public data sets in the folders that CLIP-based code bases read: one row of a table per set.

Source of the rows: `generate_dataset_json/` of github.com/zqhang/AnomalyCLIP. Some sets are read as
that family rearranges them and not as their authors ship them; docs/data.md shows every tree. Masks
are paired by name, never by sorted order as there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from zsad.data.files import ImageFileDataset, ImageItem
from zsad.data.types import GOOD
from zsad.errors import InputError
from zsad.images import SUFFIXES


@dataclass(frozen=True)
class Layout:
    """Where a set keeps its images and masks, relative to its root.

    Attributes:
        images: Globs of the images; `{split}` is replaced.
        masks: Where a mask lies, without suffix; `{object}`, `{type}` and `{stem}` are the image's.
            Empty where the set has no pixel masks.
        normal: The folder name of normal images, empty where every image is anomalous.
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

LAYOUTS = {
    "mvtec": _MVTEC,
    "mpdd": _MVTEC,
    "dtd": _MVTEC,
    "sdd": _MVTEC,
    "btad": replace(_MVTEC, normal="ok"),
    "headct": Layout(("*/{split}/*/*",), (), GOOD, "brain", "haemorrhage"),
    "br35h": Layout(("no/*", "yes/*"), (), "no", "brain", "tumour"),
    "brainmri": Layout(
        ("brain_tumor_dataset/no/*", "brain_tumor_dataset/yes/*"), (), "no", "brain", "tumour"
    ),
    "colondb": _COLON,
    "clinicdb": _COLON,
    "kvasir": _COLON,
    "endo": _COLON,
    "tn3k": Layout(
        ("test-image/*",), ("test-mask/{stem}",), class_name="thyroid", anomaly="nodule"
    ),
}
"""The sets by the name that a spec `NAME:PATH` uses."""


def open_public(name: str, root: Path, split: str) -> ImageFileDataset:
    """Open a public set below `root`.

    Raises:
        InputError: The folder is laid out differently, or an anomalous image has no mask.
    """
    layout = LAYOUTS[name]
    if split != "test" and not any("{split}" in pattern for pattern in layout.images):
        raise InputError(f"'{name}' is a test set and has no split '{split}': use split 'test'")
    patterns = [pattern.format(split=split) for pattern in layout.images]
    found = (path for pattern in patterns for path in sorted(root.glob(pattern)))
    images = [path for path in found if _is_image(path, root)]
    if not images:
        entries = sorted(p.name for p in root.iterdir()) if root.is_dir() else []
        there = ", ".join(entries[:6]) or "nothing"
        raise InputError(
            f"{name} folder {root}: expected images {' and '.join(patterns)}, found {there}"
        )
    items = tuple(_item(layout, root, path) for path in images)
    return ImageFileDataset(name, items, bool(layout.masks))


def _is_image(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in SUFFIXES and path.is_file() and not hidden


def _item(layout: Layout, root: Path, path: Path) -> ImageItem:
    inner = path.relative_to(root)
    folder, class_name = inner.parts[-2], layout.class_name or inner.parts[0].replace("_", " ")
    name = inner.with_suffix("").as_posix()
    if layout.normal and folder == layout.normal:
        return ImageItem(path, class_name, GOOD, None, name)
    mask = None
    if layout.masks:
        names = {"object": inner.parts[0], "type": folder, "stem": path.stem}
        mask = _mask(root, [rule.format(**names) for rule in layout.masks], path)
    return ImageItem(path, class_name, layout.anomaly or folder, mask, name)


def _mask(root: Path, stems: list[str], image: Path) -> Path:
    for stem in stems:
        for suffix in SUFFIXES:
            for name in (stem + suffix, stem + suffix.upper()):
                if (root / name).is_file():
                    return root / name
    raise InputError(f"{image} has no mask: expected {root / stems[0]}.png")
