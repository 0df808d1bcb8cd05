"""Data sets that bring a list of their images: VisA's CSV and the family's `meta.json`."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from zsad.data.files import ImageFileDataset, ImageItem
from zsad.data.types import GOOD
from zsad.errors import InputError

_VISA_LIST = Path("split_csv") / "1cls.csv"
_VISA_COLUMNS = ("object", "split", "label", "image", "mask")
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
        with path.open(encoding="utf-8", newline="") as stream:
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
            GOOD if row["label"] == "normal" else "anomaly",
        )
        for row in rows
    )
    return _dataset("visa", items, path, split)


def open_meta(path: Path, split: str) -> ImageFileDataset:
    """Open a `meta.json`: split, then class, then a list of images with their masks.

    Paths in it are relative to its folder, or absolute. An anomalous image without a mask makes the
    whole set one without masks.

    Raises:
        InputError: The file is missing, laid out differently or without this split, or names a file
            that is not there.
    """
    path = path / "meta.json" if path.is_dir() else path
    try:
        data = json.loads(path.read_text("utf-8"))
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
    kind = str(row["specie_name"]) or "anomaly"
    return _item(
        path.parent,
        path,
        str(row["img_path"]),
        str(row["mask_path"] or "") if row["anomaly"] else "",
        str(row["cls_name"]),
        kind if row["anomaly"] else GOOD,
    )


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
        name=Path(image).with_suffix("").as_posix(),
    )


def _dataset(
    name: str, items: tuple[ImageItem, ...], listed_in: Path, split: str
) -> ImageFileDataset:
    if not items:
        raise InputError(f"{listed_in} lists no image of split '{split}'")
    has_masks = all(item.mask_paths for item in items if item.label)
    if not has_masks:
        items = tuple(replace(item, mask_paths=()) for item in items)
    return ImageFileDataset(name, items, has_masks and any(item.label for item in items))
