"""Data sets that bring a list of their images: VisA's CSV and the family's `meta.json`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from zsad.data.files import ImageFileDataset, ImageItem
from zsad.data.types import GOOD
from zsad.errors import InputError
from zsad.schema import parse_json

_VISA_LIST = Path("split_csv") / "1cls.csv"
_VISA_COLUMNS = ("object", "split", "label", "image", "mask")
ANOMALY = "anomaly"
"""The type of an anomalous image that its list gives none."""
_META_KEYS = ("img_path", "mask_path", "cls_name", "specie_name", "anomaly")


def open_visa(root: Path, split: str) -> ImageFileDataset:
    """Open VisA by its one-class split list, `split_csv/1cls.csv`.

    Every anomalous image has the type `anomaly`: the list names no other.

    Raises:
        InputError: The list is missing, has other columns or no row of this split, or names a file
            that is not there.
    """
    path = root / _VISA_LIST
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in _VISA_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path} has no column {', '.join(missing)}: is it VisA's list?")
            rows = [row for row in reader if row["split"] == split]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"visa folder {root}: expected the list {_VISA_LIST}: {error}") from None
    items = tuple(
        _item(
            root,
            path,
            row["image"],
            row["mask"] or "",
            row["object"],
            GOOD if row["label"] == "normal" else ANOMALY,
        )
        for row in rows
    )
    return _dataset("visa", items, path, split)


def open_meta(path: Path, split: str) -> ImageFileDataset:
    """Open a `meta.json`: split, then class, then a list of images with their masks.

    Paths in it are relative to its folder, or absolute. The label is `anomaly` alone, whatever
    `specie_name` says. A set whose anomalous images have no mask at all is one without masks.

    Raises:
        InputError: The file is missing, laid out differently or without this split, names a file
            that is not there, or only some of its anomalous images have masks.
    """
    path = path / "meta.json" if path.is_dir() else path
    try:
        data = parse_json(path.read_text("utf-8-sig"))  # Windows editors write a mark
    except (OSError, ValueError) as error:
        raise InputError(f"meta file {path} cannot be read: {error}") from None
    classes = data.get(split) if isinstance(data, dict) else None
    if not isinstance(classes, dict):
        found = ", ".join(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise InputError(
            f"{path} has no split '{split}': expected split/class/images, found {found}"
        )
    rows = [row for images in classes.values() if isinstance(images, list) for row in images]
    items = tuple(_meta_item(path, row) for row in rows)
    return _dataset(f"meta:{path.parent.name}", items, path, split)


def _meta_item(path: Path, row: Any) -> ImageItem:
    missing = [key for key in _META_KEYS if not isinstance(row, dict) or key not in row]
    if missing:
        raise InputError(f"{path}: an image has no {', '.join(missing)}: is it such a meta.json?")
    image, class_name, anomaly = row["img_path"], row["cls_name"], row["anomaly"]
    if not all(isinstance(text, str) and text for text in (image, class_name)):
        raise InputError(f"{path}: img_path and cls_name must be text, found {row}")
    # A "0" in quotes would be true.
    if anomaly not in (0, 1):
        raise InputError(f"{path}: anomaly of {image} must be 0 or 1, found {anomaly!r}")
    if not anomaly:
        return _item(path.parent, path, image, "", class_name, GOOD)
    kind = str(row["specie_name"] or ANOMALY)
    mask = str(row["mask_path"] or "")
    return _item(path.parent, path, image, mask, class_name, ANOMALY if kind == GOOD else kind)


def _item(
    root: Path, listed_in: Path, image: str, mask: str, class_name: str, defect_type: str
) -> ImageItem:
    for name in filter(None, (image, mask)):
        if not (root / name).is_file():
            raise InputError(f"{listed_in} names {name}, which is not below {root}")
    return ImageItem(
        path=root / image,
        class_name=class_name.replace("_", " "),
        defect_type=defect_type,
        mask_paths=(root / mask,) if mask else (),
        name=_name(root, Path(image)),
    )


def _name(root: Path, image: Path) -> str:
    # An absolute path below the list's folder would make names of one machine.
    inner = image.relative_to(root) if image.is_relative_to(root) else image
    return inner.with_suffix("").as_posix()


def _dataset(
    name: str, items: tuple[ImageItem, ...], listed_in: Path, split: str
) -> ImageFileDataset:
    if not items:
        raise InputError(f"{listed_in} lists no image of split '{split}'")
    anomalous = [item for item in items if item.label]
    bare = [item for item in anomalous if not item.mask_paths]
    if bare and len(bare) < len(anomalous):
        raise InputError(
            f"{listed_in}: {len(bare)} of {len(anomalous)} anomalous images have no mask, the "
            f"first is {bare[0].path}: give all of them a mask, or none"
        )
    return ImageFileDataset(name, items, bool(anomalous) and not bare)
