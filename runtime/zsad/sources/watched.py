"""A folder that another program writes pictures into: each is judged once, when it is complete."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from pathlib import Path

from zsad.errors import InputError
from zsad.images import SUFFIXES, Scale16, frame_sha256, read_image
from zsad.sources.config import CameraConfig
from zsad.sources.files import FileMemory, FileVersion, JudgedFile
from zsad.sources.health import Cause
from zsad.sources.names import printable
from zsad.sources.stream import Backing, Reading, StreamError
from zsad.types import ImageU8

_SCAN_S = 0.1
_REST = 5.0
"""A large folder is looked at less often: looking takes a fifth of the time at most."""
_PATIENCE_S = 2.0
"""How long a file that cannot be read may stay as it is before that is the verdict about it."""
_ENDS = {b"\x89PNG": b"IEND", b"\xff\xd8": b"\xff\xd9"}
_TAIL = 64


class WatchedFolder:
    """A folder, opened again when it comes back; remembers what it handed on."""

    def __init__(self, config: CameraConfig, memory: FileMemory | None = None) -> None:
        """Prepare; nothing is read yet.

        Args:
            config: The folder.
            memory: Knows what was judged before this process began; None knows nothing.
        """
        self._folder = Path(config.source)
        self._scale_16bit = config.scale_16bit
        self._memory = None if config.files_at_start == "all" else memory
        self._given: dict[str, FileVersion] | None = None if config.files_at_start == "none" else {}

    def open(self, closing: threading.Event) -> FolderStream:
        """Begin to watch.

        Raises:
            StreamError: There is no such folder, or it cannot be read.
        """
        if self._given is None:
            self._given = _versions(self._folder)
        stream = FolderStream(self._folder, self._given, self._scale_16bit, self._memory)
        stream.scan()
        return stream


class FolderStream:
    """The pictures that come into one folder."""

    paced = False
    rate_hz: float | None = None
    backing = Backing("watched folder", "Pillow and OpenCV", "each file once, when it is complete")

    def __init__(
        self,
        folder: Path,
        given: dict[str, FileVersion],
        scale_16bit: Scale16 | None = None,
        memory: FileMemory | None = None,
    ) -> None:
        """Watch `folder`; `given` holds what was handed on, and is kept up to date."""
        self._folder = folder
        self._given = given
        self._scale_16bit = scale_16bit
        self._memory = memory
        self._seen: dict[str, tuple[FileVersion, float]] = {}
        self._ready: deque[tuple[str, FileVersion]] = deque()
        self._next_scan_s = 0.0

    def read(self, timeout_s: float) -> Reading | None:
        """Return the next complete picture, or None if there was none within `timeout_s`.

        Raises:
            StreamError: The folder is gone.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            if self._ready and (reading := self._take(*self._ready.popleft())) is not None:
                return reading
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return None  # also between thousands that were judged before
            if not self._ready:
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
        found = _versions(self._folder)
        spent_s = time.monotonic() - now_s
        self._next_scan_s = now_s + max(_SCAN_S, _REST * spent_s)
        if self._memory is not None:
            self._memory.keep_up(lambda: {printable(name) for name in found})
        for name in self._given.keys() - found.keys():
            del self._given[name]  # bounded by what lies in the folder
        before, self._seen = self._seen, {}
        ready = []
        for name, version in found.items():
            known, since_s = before.get(name, (None, now_s))
            is_old = self._given.get(name) == version
            if is_old or (known is None and self._was_judged(name, version)):
                self._given[name] = version
                continue
            self._seen[name] = (version, since_s if known == version else now_s)
            if known == version:
                ready.append((version.modified_ns, name, version))
        self._ready = deque((name, version) for _, name, version in sorted(ready, key=_by_age))

    def _was_judged(self, name: str, version: FileVersion) -> bool:
        """Whether a file is known that one need not look into."""
        known = None if self._memory is None else self._memory.named(printable(name))
        return known is not None and known.version == version

    def _take(self, name: str, version: FileVersion) -> Reading | None:
        captured_s = time.monotonic()
        image, reason = None, None
        try:
            image = read_image(self._folder / name, self._scale_16bit)
        except InputError as error:
            reason = printable(str(error))
        if FileVersion.of(self._folder / name) != version:
            return None  # it went on growing, or is gone: another scan will tell
        patience_s = captured_s - self._seen[name][1]
        whole = reason is None and _has_its_end(self._folder / name)
        if not whole and patience_s < _PATIENCE_S:
            return None  # a slow writer may still be at it
        self._given[name] = version
        if self._is_the_same(name, version, image):
            return None
        return Reading(image, captured_s, time.monotonic(), reason, printable(name), version)

    def _is_the_same(self, name: str, version: FileVersion, image: ImageU8 | None) -> bool:
        """Whether this picture was judged already: on a disk mounted anew, or renamed since.

        It takes the pixels to tell, and pixels alone do not: a dead camera's frames are all alike.
        """
        if self._memory is None:
            return False
        known, moved = self._memory.named(printable(name)), self._memory.versioned(version)
        if known is not None and not (known.version is None or known.version.may_be(version)):
            known = None
        if moved is not None and (self._folder / moved.name).exists():
            moved = None
        found = [each.frame_sha256 for each in (known, moved) if each is not None]
        if not found:
            return False
        sha256 = None if image is None else frame_sha256(image)
        if sha256 not in found:
            return False
        self._memory.recognised(JudgedFile(printable(name), version, sha256))
        return True

    def interrupt(self) -> None:
        """Do nothing: a read waits for its time-out at most."""

    def close(self) -> None:
        """Do nothing: no file stays open."""


def _versions(folder: Path) -> dict[str, FileVersion]:
    """Return the pictures in a folder.

    Raises:
        StreamError: It is gone, or cannot be read.
    """
    versions = {}
    try:
        found = list(folder.iterdir())
        if not os.access(folder, os.X_OK):
            # Names can be read then and nothing else, so that it would look empty.
            raise PermissionError(errno.EACCES, "its files may not be opened: it lacks the x right")
        for path in found:
            if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            if (version := FileVersion.of(path)) is not None:
                versions[path.name] = version
    except OSError as error:
        cause = Cause.AUTH if isinstance(error, PermissionError) else Cause.NOT_FOUND
        raise StreamError(cause, f"folder {folder}: {error.strerror}") from None
    return versions


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


def _by_age(item: tuple[int, str, FileVersion]) -> tuple[int, str]:
    return item[0], item[1]
