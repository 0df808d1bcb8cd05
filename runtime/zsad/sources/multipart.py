"""Cuts the endless answer of an HTTP camera into its JPEG pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LENGTH = re.compile(rb"^content-length:\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)
_LINE = re.compile(rb"^--[!-~]+(?=\r?\n(?:[a-z-]+:|\r?\n))", re.IGNORECASE | re.MULTILINE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LONGEST_HEAD = 1 << 14
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of frame, of every coding
_START, _END = b"\xff\xd8", b"\xff\xd9"


class Multipart:
    """A parser of `multipart/x-mixed-replace` that finds its way back after garbage.

    A part with a Content-Length is complete with its last byte; one without ends where the next
    boundary begins, which is one picture later.
    """

    def __init__(self, boundary: str, longest: int = 1 << 26) -> None:
        """Parse parts of at most `longest` bytes between lines of `--boundary`.

        Where a camera names none, the first line that could be one is: two dashes alone would be
        found in the middle of most pictures.
        """
        # Some cameras name the boundary with its dashes, and some without.
        name = boundary.strip('"').lstrip("-").encode()
        self._boundary = b"--" + name if name else None
        self._longest = longest
        self._buffer = bytearray()

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Take more bytes; yield the body of each part that is complete.

        Raises:
            ValueError: A part is longer than any picture can be.
        """
        self._buffer += block
        while (body := self._next()) is not None:
            yield body
        if len(self._buffer) > self._longest + _LONGEST_HEAD:
            raise ValueError(f"a part of more than {self._longest} bytes")

    def _next(self) -> bytes | None:
        if self._boundary is None and (found := _LINE.search(self._buffer)) is not None:
            self._boundary = found[0]
        if self._boundary is None or (start := self._buffer.find(self._boundary)) < 0:
            return None
        del self._buffer[:start]
        head_end = _HEAD_END.search(self._buffer, len(self._boundary), _LONGEST_HEAD)
        if head_end is None:
            return None
        length = _LENGTH.search(self._buffer, 0, head_end.start())
        begin = head_end.end()
        following = self._buffer.find(self._boundary, begin)
        if length is None:
            return None if following < 0 else self._cut(begin, following)
        end = begin + int(length[1])
        if 0 <= following < end:
            end = following  # it was cut short, or lied about its length
        return None if len(self._buffer) < end else self._cut(begin, end)

    def _cut(self, begin: int, end: int) -> bytes:
        body = bytes(self._buffer[begin:end])
        del self._buffer[:end]
        return body


def is_whole_jpeg(body: bytes) -> bool:
    """Whether bytes begin and end as a JPEG; decoders fill up half a picture without a word."""
    return body.startswith(_START) and body.rstrip(b"\r\n\0-").endswith(_END)


def jpeg_size_wh(body: bytes) -> tuple[int, int] | None:
    """Return width and height from a JPEG's header; None where it does not say them."""
    at = 2
    while at + 9 <= len(body) and body[at] == 0xFF:
        marker = body[at + 1]
        if marker in _SIZES:
            height, width = (int.from_bytes(body[at + i : at + i + 2], "big") for i in (5, 7))
            return width, height
        at += 1 if marker == 0xFF else 2 + int.from_bytes(body[at + 2 : at + 4], "big")
    return None
