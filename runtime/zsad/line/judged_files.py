"""Which files of the watched folders were judged, kept over restarts.

The ledger is what counts: it has each file's name and the hash of its pixels, committed with the
verdict. What is kept here beside it is that, with what the file looked like from outside, so that a
restart need not look into every file again. What a crash kept from being written here is found in
the ledger, and all of it where the file is lost.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from zsad.credentials import masked_line
from zsad.ledger.database import transaction
from zsad.line.judged_database import open_kept
from zsad.line.record import VerdictRecord
from zsad.sources.base import Frame
from zsad.sources.files import FileVersion, JudgedFile

LOG = logging.getLogger(__name__)

_QUEUE = 10_000
_KEPT = 10_000
"""Files that are gone are remembered up to so many: a share may be away for a while."""
_LOOKS = 10_000
"""Looks at a folder between two times of forgetting, a quarter of an hour at least."""
_AGAIN_S = 10.0
_FOUND = "SELECT name, size, modified_ns, inode, frame_sha256 FROM files WHERE camera = ? AND "
_PUT = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_AGAIN = """
INSERT OR REPLACE INTO files SELECT ?, ?, (SELECT seq FROM covered), ?, ?, ?, ?
"""
_COVER = "UPDATE covered SET seq = seq + 1 WHERE seq + 1 = ?"

_Row = tuple[str, str, int, int | None, int | None, int | None, str | None]


class JudgedFiles:
    """What is known of the files of all watched folders of a line.

    `note` never waits for a disk; the capture threads write, and a disk that fails costs no more
    than that files are judged again after a restart.
    """

    def __init__(self, folder: Path, cameras: Collection[str]) -> None:
        """Open what is kept in a ledger's folder, and bring it up to that ledger.

        Args:
            folder: The ledger's folder; its database exists.
            cameras: Names of the watched folders.
        """
        self._cameras = frozenset(cameras)
        self._lock = threading.Lock()  # of the connection
        self._noted: deque[tuple[int, tuple[_Row, ...]]] = deque(maxlen=_QUEUE)
        self._retry_s = 0.0
        self._connection = open_kept(folder, self._cameras)

    def note(self, record: VerdictRecord, frames: Sequence[Frame]) -> None:
        """Take note of a committed verdict.

        Args:
            record: It, with its number.
            frames: What its views were made of, in their order.
        """
        pairs = zip(record.views, frames, strict=True)
        rows = tuple(
            (view.camera, view.frame, record.seq, *_columns(frame.version), view.frame_sha256)
            for view, frame in pairs
            if view.camera in self._cameras
        )
        self._noted.append((record.seq, rows))

    def of(self, camera: str) -> FolderFiles:
        """Return what is known of one camera's folder."""
        return FolderFiles(self, camera)

    def close(self) -> None:
        """Write what is left; closing twice does no harm."""
        self._write(again_s=0.0)
        with self._lock:
            self._connection.close()

    def _write(self, again_s: float = _AGAIN_S) -> None:
        """Write what was noted; where the disk refuses, another time."""
        if not self._noted or time.monotonic() < self._retry_s:
            return
        with self._lock:
            noted = [self._noted.popleft() for _ in range(len(self._noted))]
            try:
                with transaction(self._connection):
                    self._connection.executemany(_PUT, (row for _, rows in noted for row in rows))
                    # A number that was not noted is a late row: the next start finds it.
                    for seq, _ in noted:
                        self._connection.execute(_COVER, (seq,))
            except sqlite3.Error as error:
                self._noted.extendleft(reversed(noted))
                self._retry_s = time.monotonic() + again_s
                LOG.warning("which files were judged cannot be written: %s", masked_line(error))

    def _find(self, condition: str, values: tuple[object, ...]) -> JudgedFile | None:
        try:
            with self._lock:
                found = self._connection.execute(_FOUND + condition, values).fetchone()
        except sqlite3.Error as error:  # a part that is judged twice is better than one that is not
            LOG.warning("which files were judged cannot be read: %s", masked_line(error))
            found = None
        if found is None:
            return None
        name, size, modified_ns, inode, frame_sha256 = found
        version = None if size is None else FileVersion(size, modified_ns, inode)
        return JudgedFile(name, version, frame_sha256)

    def _put(self, camera: str, file: JudgedFile) -> None:
        row = (camera, file.name, *_columns(file.version), file.frame_sha256)
        try:
            with self._lock, transaction(self._connection):
                self._connection.execute(_PUT_AGAIN, row)
        except sqlite3.Error as error:
            LOG.warning("which files were judged cannot be written: %s", masked_line(error))

    def _prune(self, camera: str, present: Collection[str], is_first: bool) -> None:
        """Forget the oldest of the files that are gone.

        One whose version was not kept is told by its pixels alone, so it must have lain there when
        the folder was first looked at.
        """
        names, kept = frozenset(present), 0
        gone: list[tuple[str, str]] = []
        with self._lock, transaction(self._connection):
            query = "SELECT name, size FROM files WHERE camera = ? ORDER BY seq DESC"
            for name, size in self._connection.execute(query, (camera,)):
                if name not in names:
                    kept += 1
                    if kept > _KEPT or (is_first and size is None):
                        gone.append((camera, name))
            self._connection.executemany("DELETE FROM files WHERE camera = ? AND name = ?", gone)


class FolderFiles:
    """What is known of the files of one folder; see `zsad.sources.files.FileMemory`."""

    def __init__(self, files: JudgedFiles, camera: str) -> None:
        """Answer for one camera."""
        self._files = files
        self._camera = camera
        self._looks = 0

    def named(self, name: str) -> JudgedFile | None:
        """Return the file that was judged under a name, the last one."""
        return self._files._find("name = ?", (self._camera, name))

    def versioned(self, version: FileVersion) -> JudgedFile | None:
        """Return the file that was judged as a version, under whatever name."""
        condition = "modified_ns = ? AND size = ? AND inode = ? ORDER BY seq DESC"
        values = (version.modified_ns, version.size, version.inode)
        return self._files._find(condition, (self._camera, *values))

    def recognised(self, file: JudgedFile) -> None:
        """Take note that a judged file lies there under this name and as this version."""
        self._files._put(self._camera, file)

    def keep_up(self, present: Callable[[], Collection[str]]) -> None:
        """Write down what was judged meanwhile; forget what is long gone."""
        self._files._write()
        if self._looks % _LOOKS == 0:
            try:
                self._files._prune(self._camera, present(), is_first=self._looks == 0)
            except sqlite3.Error as error:
                LOG.warning("files that are gone cannot be forgotten: %s", masked_line(error))
        self._looks += 1


def _columns(version: FileVersion | None) -> tuple[int | None, int | None, int | None]:
    if version is None:
        return None, None, None
    return version.size, version.modified_ns, version.inode
