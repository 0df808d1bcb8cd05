"""The frames and heat maps beside the database: whole, and on the disk before a row names them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zsad.errors import InputError
from zsad.images import frame_sha256
from zsad.line.record import VerdictRecord
from zsad.types import ImageU8

FOLDER = "pictures"

_PER_FOLDER = 1000
_TEMPORARY = ".tmp"

PictureKind = Literal["frame", "heat map"]


@dataclass(frozen=True)
class Picture:
    """What may be kept of one view; the ledger's policy says whether it is.

    Attributes:
        view: Index of the view in its record.
        frame_bgr: The judged frame, (H, W, 3) uint8 BGR; None where there was none.
        heat_map_jpeg: A JPEG file of it with its heat map, None without one.
    """

    view: int
    frame_bgr: ImageU8 | None
    heat_map_jpeg: bytes | None


@dataclass(frozen=True)
class StoredPicture:
    """A file that was written.

    Attributes:
        file: Its name below the ledger's folder.
        view: Index of the view in its record.
        kind: What it shows.
        size_bytes: Its size.
    """

    file: str
    view: int
    kind: PictureKind
    size_bytes: int


def store(
    root: Path, record: VerdictRecord, pictures: Iterable[Picture]
) -> tuple[StoredPicture, ...]:
    """Write pictures durably: when this returns, a power cut loses none of them.

    A file's name holds a hash of what is in it, so that what is written for one commit is never
    overwritten by the next.

    Args:
        root: The ledger's folder.
        record: The verdict that they belong to, with its number.
        pictures: Of its views.

    Raises:
        InputError: A frame is not the one that its view names by hash.
        OSError: The disk did not take them; what was written is left for `sweep_part`.
    """
    folder = _folder_of(root, record.seq)
    _make(folder, root)
    stored = []
    for picture in pictures:
        for kind, suffix, digest, content in _encoded(record, picture):
            name = f"{_prefix_of(record.seq)}{picture.view}-{digest[:12]}{suffix}"
            _write(folder / name, content)
            file = f"{FOLDER}/{folder.name}/{name}"
            stored.append(StoredPicture(file, picture.view, kind, len(content)))
    sync_folder(folder)
    return tuple(stored)


def name_pictures(record: VerdictRecord, stored: Sequence[StoredPicture]) -> VerdictRecord:
    """Return the record with the names of its pictures in its views."""
    names: dict[tuple[int, PictureKind], str] = {(s.view, s.kind): s.file for s in stored}
    views = tuple(
        replace(
            view,
            snapshot=names.get((index, "frame")),
            heat_map=names.get((index, "heat map")),
        )
        for index, view in enumerate(record.views)
    )
    return replace(record, views=views)


def remove(root: Path, files: Iterable[str]) -> None:
    """Remove files, and folders that are empty then; what is gone already does no harm.

    Raises:
        OSError: The disk refused.
    """
    folders = set()
    for file in files:
        (root / file).unlink(missing_ok=True)
        folders.add((root / file).parent)
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def sweep(root: Path, known: Collection[str]) -> int:
    """Remove what no row names, left by a commit that a crash cut off; return how many files.

    Raises:
        OSError: The disk refused.
    """
    if not (root / FOLDER).is_dir():
        return 0
    orphans = [
        name
        for path in (root / FOLDER).rglob("*")
        if path.is_file() and (name := path.relative_to(root).as_posix()) not in known
    ]
    remove(root, orphans)
    sync_folder(root / FOLDER)  # of folders that the crash kept `store` from making durable
    return len(orphans)


def sweep_part(root: Path, seq: int, known: Collection[str]) -> None:
    """Remove what no row names of one verdict's pictures, left by a commit that failed.

    Raises:
        OSError: The disk refused.
    """
    written = _folder_of(root, seq).glob(f"{_prefix_of(seq)}*")
    names = (path.relative_to(root).as_posix() for path in written)
    remove(root, [name for name in names if name not in known])


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a file's own fsync does not.

    Raises:
        OSError: The disk refused.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _folder_of(root: Path, seq: int) -> Path:
    return root / FOLDER / f"{seq // _PER_FOLDER:06d}"


def _prefix_of(seq: int) -> str:
    return f"{seq:09d}-"


def _make(folder: Path, root: Path) -> None:
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    sync_folder(folder.parent)
    sync_folder(root)


def _encoded(
    record: VerdictRecord, picture: Picture
) -> Iterator[tuple[PictureKind, str, str, bytes]]:
    """Yield kind, suffix, hash and bytes of each file."""
    if picture.frame_bgr is not None:
        digest = frame_sha256(picture.frame_bgr)
        if digest != record.views[picture.view].frame_sha256:
            raise InputError(
                f"the frame of view {picture.view} of part '{record.part}' is not the one that its"
                " record names: it could never be replayed"
            )
        yield "frame", ".png", digest, _encode_png(picture.frame_bgr)
    if picture.heat_map_jpeg is not None:
        digest = hashlib.sha256(picture.heat_map_jpeg).hexdigest()
        yield "heat map", ".jpg", digest, picture.heat_map_jpeg


def _encode_png(frame_bgr: ImageU8) -> bytes:
    import cv2

    # On camera noise Huffman coding alone is faster than matching, and no larger.
    options = [
        cv2.IMWRITE_PNG_COMPRESSION,
        1,
        cv2.IMWRITE_PNG_STRATEGY,
        cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY,
    ]
    try:
        done, encoded = cv2.imencode(".png", frame_bgr, options)
    except cv2.error as error:
        raise InputError(f"a frame of shape {frame_bgr.shape} cannot be stored: {error}") from None
    if not done:
        raise InputError(f"a frame of shape {frame_bgr.shape} cannot be stored as PNG")
    return encoded.tobytes()


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + _TEMPORARY)
    with temporary.open("wb", buffering=0) as stream:
        view = memoryview(content)
        while view:
            view = view[stream.write(view) :]
        os.fsync(stream.fileno())
    os.replace(temporary, path)
