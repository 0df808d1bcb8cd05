"""Public data sets read from the folders they are published in: one row of a table per set.

The layouts are those that the CLIP-based code bases read; source: `generate_dataset_json/` of
github.com/zqhang/AnomalyCLIP. Masks are paired by name, never by sorted order as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zsad.data.files import ImageFileDataset, ImageItem
from zsad.data.types import GOOD
from zsad.errors import InputError
from zsad.images import SUFFIXES


@dataclass(frozen=True)
class Layout:
    """Where a set keeps its images and masks, relative to its root.

    Attributes:
        images: Glob of the images; `{split}` is replaced.
        masks: Where a mask lies, without suffix; `{object}`, `{type}` and `{stem}` are the image's.
            Empty where the set has no pixel masks.
        normal: The folder name of normal images, empty where every image is anomalous.
        class_name: The class; empty where the first folder names it.
    """

    images: str
    masks: tuple[str, ...] = ()
    normal: str = ""
    class_name: str = ""


_MVTEC = Layout(
    "*/{split}/*/*",
    ("{object}/ground_truth/{type}/{stem}_mask", "{object}/ground_truth/{type}/{stem}"),
    GOOD,
)
_COLON = Layout("images/*", ("masks/{stem}",), class_name="colon")

LAYOUTS = {
    "mvtec": _MVTEC,
    "mpdd": _MVTEC,
    "dtd": _MVTEC,
    "sdd": _MVTEC,
    "btad": Layout(_MVTEC.images, _MVTEC.masks, "ok"),
    "headct": Layout("*/{split}/*/*", (), GOOD, "brain"),
    "br35h": Layout("*/*", (), "no", "brain"),
    "brainmri": Layout("brain_tumor_dataset/*/*", (), "no", "brain"),
    "colondb": _COLON,
    "clinicdb": _COLON,
    "kvasir": _COLON,
    "endo": _COLON,
    "tn3k": Layout("test-image/*", ("test-mask/{stem}",), class_name="thyroid"),
}
"""The sets by the name that a spec `NAME:PATH` uses."""


def open_public(name: str, root: Path, split: str) -> ImageFileDataset:
    """Open a public set below `root`.

    Raises:
        InputError: The folder is laid out differently, or an anomalous image has no mask.
    """
    layout = LAYOUTS[name]
    pattern = layout.images.format(split=split)
    if "{split}" not in layout.images and split != "test":
        raise InputError(f"'{name}' is a test set and has no split '{split}': use split 'test'")
    images = [path for path in sorted(root.glob(pattern)) if _is_image(path, root)]
    if not images:
        entries = sorted(p.name for p in root.iterdir()) if root.is_dir() else []
        found = ", ".join(entries[:6]) or "nothing"
        raise InputError(f"{name} folder {root}: expected images {pattern}, found {found}")
    items = tuple(_item(layout, root, path) for path in images)
    return ImageFileDataset(name, items, bool(layout.masks))


def _is_image(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in SUFFIXES and path.is_file() and not hidden


def _item(layout: Layout, root: Path, path: Path) -> ImageItem:
    parts = path.relative_to(root).parts
    defect_type = GOOD if layout.normal and parts[-2] == layout.normal else parts[-2]
    class_name = layout.class_name or parts[0].replace("_", " ")
    mask = None
    if layout.masks and defect_type != GOOD:
        names = {"object": parts[0], "type": defect_type, "stem": path.stem}
        mask = _mask(root, [rule.format(**names) for rule in layout.masks], path)
    return ImageItem(path, class_name, defect_type, mask)


def _mask(root: Path, stems: list[str], image: Path) -> Path:
    for stem in stems:
        for suffix in SUFFIXES:
            for name in (stem + suffix, stem + suffix.upper()):
                if (root / name).is_file():
                    return root / name
    raise InputError(f"{image} has no mask: expected {root / stems[0]}.png")
