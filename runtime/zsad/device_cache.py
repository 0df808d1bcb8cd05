"""Where this device keeps what it made for itself: engines, compiled graphs, measurements."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


def device_cache() -> Path:
    """Return `$ZSAD_CACHE`, else `zsad` below the user's cache folder."""
    if configured := os.environ.get("ZSAD_CACHE"):
        return Path(configured)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "zsad"


def make_room(entries: Iterable[Path], used: Path, limit: int) -> None:
    """Remove what was longest unused of a cache, until the rest takes at most `limit` bytes.

    Args:
        entries: The folders that the cache consists of; each one's time is that of its last use.
        used: The entry in use, which stays whatever its size.
        limit: Bytes of all entries together.
    """
    found = sorted(filter(None, map(_Entry.of, entries)), key=lambda entry: entry.last_use)
    total = sum(entry.size for entry in found)
    for entry in found:
        if total <= limit:
            return
        if entry.folder != used:
            # A process that has its files mapped keeps them; one that opens it writes it anew.
            shutil.rmtree(entry.folder, ignore_errors=True)
            total -= 0 if entry.folder.exists() else entry.size


@dataclass(frozen=True)
class _Entry:
    folder: Path
    size: int
    last_use: float

    @classmethod
    def of(cls, folder: Path) -> _Entry | None:
        """Return the entry; None if another process removes it just now."""
        try:
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            return cls(folder, size, folder.stat().st_mtime)
        except OSError:
            return None
