"""The files of a feature cache, and room for those of one run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from zsad.errors import InputError
from zsad.schema import write_atomic

SUFFIX = ".safetensors"


class Shelf:
    """The folder's entries, and room for those of this run."""

    def __init__(self, folder: Path, limit: int, count: int) -> None:
        """Look for what `folder` holds.

        Args:
            folder: The cache.
            limit: Bytes that all entries together may take.
            count: Entries that this run needs.
        """
        self._limit = limit
        self._count = count
        self._mine: set[Path] = set()
        self._sizes = {path: path.stat().st_size for path in folder.glob(f"*/*{SUFFIX}")}
        self._total = sum(self._sizes.values())

    def take(self, path: Path) -> bool:
        """Whether a whole entry is there; it counts as used now."""
        self._mine.add(path)
        if path not in self._sizes:
            return False
        try:
            with safe_open(path, "pt"):  # the header tells of a file that was cut
                path.touch()
                return True
        except (SafetensorError, OSError):
            return False

    def put(self, path: Path, content: bytes) -> None:
        """Write an entry, after others have made room for it.

        Raises:
            InputError: The entries of this run do not fit.
        """
        if len(content) * self._count > self._limit:
            raise InputError(
                f"the features of {self._count} images take {len(content) * self._count / 1e9:.2g} "
                f"GB, --feature-cache-gb is {self._limit / 1e9:.2g}: raise it, or use --limit"
            )
        self._total += len(content) - self._sizes.get(path, 0)
        self._sizes[path] = len(content)
        for old in self._to_evict():
            old.unlink(missing_ok=True)
            self._total -= self._sizes.pop(old)
        write_atomic(path, content)

    def _to_evict(self) -> Iterator[Path]:
        excess = self._total - self._limit
        if excess <= 0:
            return
        others = [path for path in self._sizes if path not in self._mine and path.exists()]
        for path in sorted(others, key=lambda p: p.stat().st_mtime):
            if excess <= 0:
                return
            excess -= self._sizes[path]
            yield path
