"""Which files of a watched folder were judged: what a folder needs to be told after a restart."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class FileVersion:
    """What changes when a file is written anew, whatever the clock says meanwhile."""

    size: int
    modified_ns: int
    inode: int

    @staticmethod
    def of(path: Path) -> FileVersion | None:
        """Return that of a file; None where there is none."""
        try:
            status = path.stat()
            is_file = path.is_file()
        except OSError:
            return None
        if not is_file:
            return None
        return FileVersion(status.st_size, _signed(status.st_mtime_ns), _signed(status.st_ino))

    def may_be(self, other: FileVersion) -> bool:
        """Whether both can be one file: some disks give it another inode when mounted anew."""
        return (self.size, self.modified_ns) == (other.size, other.modified_ns)


@dataclass(frozen=True)
class JudgedFile:
    """A file about which there is a verdict.

    Attributes:
        name: Its name then.
        version: What it was then; None where that was not kept.
        frame_sha256: `zsad.images.frame_sha256` of its picture; None where it had none.
    """

    name: str
    version: FileVersion | None
    frame_sha256: str | None


def _signed(number: int) -> int:
    """Return a number as a database holds it: some shares give inodes of all 64 bits."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


class FileMemory(Protocol):
    """What is known of the files of one folder; asked by its capture thread alone."""

    def named(self, name: str) -> JudgedFile | None:
        """Return the file that was judged under a name, the last one."""

    def versioned(self, version: FileVersion) -> JudgedFile | None:
        """Return the file that was judged as a version, under whatever name."""

    def recognised(self, file: JudgedFile) -> None:
        """Take note that a judged file lies there under this name and as this version."""

    def keep_up(self, present: Callable[[], Collection[str]]) -> None:
        """Write down what was judged meanwhile; forget what is long gone.

        Args:
            present: Gives the names of all that lies in the folder.
        """
