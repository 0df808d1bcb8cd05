"""A folder that another program writes pictures into: each is judged once, when it is complete."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from zsad.errors import InputError
from zsad.images import SUFFIXES, Scale16, read_image
from zsad.sources.config import CameraConfig
from zsad.sources.health import Cause
from zsad.sources.names import printable
from zsad.sources.stream import Backing, Reading, StreamError

_SCAN_S = 0.1
_REST = 5.0
"""A large folder is looked at less often: looking takes a fifth of the time at most."""
_PATIENCE_S = 2.0
"""How long a file that cannot be read may stay as it is before that is the verdict about it."""
_ENDS = {b"\x89PNG": b"IEND", b"\xff\xd8": b"\xff\xd9"}
_TAIL = 64


@dataclass(frozen=True)
class _Version:
    """What a file must keep between two scans to count as complete."""

    size: int
    modified_ns: int
    inode: int


class WatchedFolder:
    """A folder, opened again when it comes back; remembers what was judged.

    The memory is this process's: after a restart, the files that are still there are new again.
    """

    def __init__(self, config: CameraConfig) -> None:
        """Prepare; nothing is read yet."""
        self._folder = Path(config.source)
        self._scale_16bit = config.scale_16bit
        self._given: dict[str, _Version] = {}

    def open(self, closing: threading.Event) -> FolderStream:
        """Begin to watch.

        Raises:
            StreamError: There is no such folder, or it cannot be read.
        """
        stream = FolderStream(self._folder, self._given, self._scale_16bit)
        stream.scan()
        return stream


class FolderStream:
    """The pictures that come into one folder."""

    paced = False
    rate_hz: float | None = None
    backing = Backing("watched folder", "Pillow and OpenCV", "each file once, when it is complete")

    def __init__(
        self, folder: Path, given: dict[str, _Version], scale_16bit: Scale16 | None = None
    ) -> None:
        """Watch `folder`; `given` holds what was handed on, and is kept up to date."""
        self._folder = folder
        self._given = given
        self._scale_16bit = scale_16bit
        self._seen: dict[str, tuple[_Version, float]] = {}
        self._ready: deque[tuple[str, _Version]] = deque()
        self._next_scan_s = 0.0

    def read(self, timeout_s: float) -> Reading | None:
        """Return the next complete picture, or None if there was none within `timeout_s`.

        Raises:
            StreamError: The folder is gone.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            while self._ready:
                if (reading := self._take(*self._ready.popleft())) is not None:
                    return reading
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return None
            time.sleep(min(left_s, max(0.0, self._next_scan_s - time.monotonic())))
            self.scan()

    def scan(self) -> None:
        """Look for files that did not change since the last look, oldest first.

        Raises:
            StreamError: The folder is gone.
        """
        now_s = time.monotonic()
        if now_s < self._next_scan_s:
            return
        found = self._versions()
        spent_s = time.monotonic() - now_s
        self._next_scan_s = now_s + max(_SCAN_S, _REST * spent_s)
        for name in self._given.keys() - found.keys():
            del self._given[name]  # bounded by what lies in the folder
        before, self._seen = self._seen, {}
        ready = []
        for name, version in found.items():
            if self._given.get(name) == version:
                continue
            known, since_s = before.get(name, (None, now_s))
            self._seen[name] = (version, since_s if known == version else now_s)
            if known == version and version.size > 0:
                ready.append((version.modified_ns, name, version))
        self._ready = deque((name, version) for _, name, version in sorted(ready, key=_by_age))

    def _versions(self) -> dict[str, _Version]:
        versions = {}
        try:
            for path in self._folder.iterdir():
                if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                    continue
                if (version := _version(path)) is not None:
                    versions[path.name] = version
        except OSError as error:
            cause = Cause.AUTH if isinstance(error, PermissionError) else Cause.NOT_FOUND
            raise StreamError(cause, f"folder {self._folder}: {error.strerror}") from None
        return versions

    def _take(self, name: str, version: _Version) -> Reading | None:
        captured_s = time.monotonic()
        image, reason = None, None
        try:
            image = read_image(self._folder / name, self._scale_16bit)
        except InputError as error:
            reason = printable(str(error))
        if _version(self._folder / name) != version:
            return None  # it went on growing, or is gone: another scan will tell
        patience_s = captured_s - self._seen[name][1]
        whole = reason is None and _has_its_end(self._folder / name)
        if not whole and patience_s < _PATIENCE_S:
            return None  # a slow writer may still be at it
        self._given[name] = version
        return Reading(image, captured_s, time.monotonic(), reason, printable(name))

    def interrupt(self) -> None:
        """Do nothing: a read waits for its time-out at most."""

    def close(self) -> None:
        """Do nothing: no file stays open."""


def _version(path: Path) -> _Version | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _Version(status.st_size, status.st_mtime_ns, status.st_ino) if path.is_file() else None


def _has_its_end(path: Path) -> bool:
    """Whether a file ends as its format does; decoders are content as soon as the pixels are."""
    try:
        with path.open("rb") as stream:
            head = stream.read(4)
            stream.seek(max(0, path.stat().st_size - _TAIL))
            tail = stream.read()
    except OSError:
        return False
    return next((end in tail for start, end in _ENDS.items() if head.startswith(start)), True)


def _by_age(item: tuple[int, str, _Version]) -> tuple[int, str]:
    return item[0], item[1]
