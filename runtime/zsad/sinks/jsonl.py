"""Verdicts as lines of a file."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from zsad.line.record import VerdictRecord
from zsad.sinks.base import SinkCause, SinkError, sink_error
from zsad.sinks.config import JsonlConfig
from zsad.sinks.payload import verdict_bytes

_TAIL = 1 << 20  # bytes; no record comes near it


class JsonlSink:
    """Appends one line per verdict; what is acknowledged is on the disk."""

    def __init__(self, name: str, config: JsonlConfig) -> None:
        """Name the sink; the file is touched when it is opened."""
        self.name = name
        self._config = config
        self._path = Path(config.path)
        self._stream: BinaryIO | None = None
        self._size = 0  # bytes that hold whole lines

    def open(self) -> None:
        """Open the file, or open it anew where somebody moved it away.

        Raises:
            SinkError: It cannot be opened, or another process writes it.
        """
        if self._stream is not None and not self._is_ours():
            self.close()
        if self._stream is None:
            try:
                self._stream = self._open_own()
                self._size = self._cut_torn_line(self._stream)
                _sync_folder(self._path.parent)
            except OSError as error:
                self.close()
                raise sink_error(error, f"file {self._path}") from None
            except SinkError:
                self.close()
                raise

    def deliver(self, records: Sequence[VerdictRecord]) -> int:
        """Append the records, all or none of them.

        Raises:
            SinkError: The disk is full or gone; half a line is taken back.
        """
        assert self._stream is not None, "deliver() needs open()"
        lines = b"".join(verdict_bytes(record) + b"\n" for record in records)
        try:
            if self._size and self._size + len(lines) > self._config.max_mib * (1 << 20):
                self._rotate()
            self._append(self._stream, lines)
        except OSError as error:
            self._take_back()
            raise sink_error(error, f"file {self._path}") from None
        return len(records)

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _append(self, stream: BinaryIO, lines: bytes) -> None:
        written = 0
        while written < len(lines):  # a disk that fills up takes a part and says so the next time
            written += stream.write(lines[written:])
        if self._config.fsync == "always":
            os.fsync(stream.fileno())
        self._size += len(lines)

    def _take_back(self) -> None:
        """Leave no half line behind; after a failed fsync the file has to be opened anew."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._stream.fileno(), self._size)
        with contextlib.suppress(OSError):
            self.close()
        self._stream = None

    def _rotate(self) -> None:
        names = [self._path, *(self._aside(n) for n in range(1, self._config.keep + 1))]
        for newer, older in reversed(list(itertools.pairwise(names))):
            if newer.exists():
                os.replace(newer, older)
        self.close()
        self._stream = self._open_own()
        self._size = 0
        _sync_folder(self._path.parent)

    def _open_own(self) -> BinaryIO:
        """Open the file, and keep every other zsad from it for as long as it is open."""
        if self._path.is_fifo():  # opening it would wait for its reader
            raise SinkError(SinkCause.FAILED, f"file {self._path}: it is a pipe: name a file")
        stream = self._path.open("ab", buffering=0)
        try:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            what = "another zsad writes it: give each sink a file of its own"
            raise SinkError(SinkCause.FAILED, f"file {self._path}: {what}") from None
        except OSError:  # a file system without locks; nothing can be known there
            pass
        return stream

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _is_ours(self) -> bool:
        assert self._stream is not None
        try:
            there = self._path.stat()
        except OSError:
            return False
        here = os.fstat(self._stream.fileno())
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def _cut_torn_line(self, stream: BinaryIO) -> int:
        """Cut what a power cut left of a line, which was never acknowledged; return the size."""
        size = os.fstat(stream.fileno()).st_size
        with self._path.open("rb") as reader:
            start = max(0, size - _TAIL)
            reader.seek(start)
            tail = reader.read(size - start)
        torn = tail[tail.rfind(b"\n") + 1 :]
        if not torn.startswith(b"{"[: len(torn)]):
            what = "its last line is not ours: name a file of its own"
            raise SinkError(SinkCause.FAILED, f"file {self._path}: {what}")
        if torn:
            os.ftruncate(stream.fileno(), size - len(torn))
        return size - len(torn)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
