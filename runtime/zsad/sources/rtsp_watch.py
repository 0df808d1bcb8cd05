"""What an RTSP server sends over TCP, let through up to where its pictures change their size."""

from __future__ import annotations

import re

from zsad.sources.parameter_sets import SizeWH
from zsad.sources.rtp_sizes import PayloadReader, payload_reader

_INTERLEAVED = 0x24  # a dollar sign
_LONGEST_TEXT = 1 << 16
_TEXT = re.compile(rb"[A-Z_]{4}")  # RTSP/1.0, or a request of the server's
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,9})", re.IGNORECASE | re.MULTILINE)
_SECTION = re.compile(r"^m=(\w+) \S+ (\S+) (\d+)(.*?)(?=^m=|\Z)", re.MULTILINE | re.DOTALL)
_STATIC = {26: "JPEG"}


class RtspWatch:
    """Follows one connection.

    Attributes:
        change: The size before and the size after, once it changed; nothing is passed on then.
        unwatched: Why a change would not be seen, for a person; None where it would.
    """

    def __init__(self) -> None:
        """Begin with a connection that was just made."""
        self.change: tuple[SizeWH, SizeWH] | None = None
        self.unwatched: str | None = "no video is described"
        self._codecs: dict[int, tuple[str, str]] = {}  # codec and parameters by payload type
        self._readers: dict[tuple[int, int], PayloadReader | None] = {}  # by channel and type
        self._sizes: dict[int, SizeWH] = {}  # by channel
        self._held = bytearray()
        self._lost = False

    def pass_on(self, received: bytes) -> bytes:
        """Take what came; return what may go on, in whole messages and packets."""
        if self.change is not None:
            return b""
        self._held += received
        end = 0
        while self.change is None and not self._lost and (length := self._length(end)):
            message = bytes(self._held[end : end + length])
            if message[0] == _INTERLEAVED:
                self._look_at(message)
            else:
                self._read_session(message)
            if self.change is None:
                end += length
        return self._cut(len(self._held) if self._lost else end)

    def rest(self) -> bytes:
        """Return what was held back, at the end of the connection."""
        return self._cut(0 if self.change else len(self._held))

    def _cut(self, end: int) -> bytes:
        passed = bytes(self._held[:end])
        del self._held[:end]
        return passed

    def _length(self, start: int) -> int:
        """The length of what begins there; 0 where it is not whole."""
        there = len(self._held) - start
        if there < 4:
            return 0
        first = self._held[start]
        if first == _INTERLEAVED:
            length = 4 + int.from_bytes(self._held[start + 2 : start + 4], "big")
        elif first in b"\r\n":
            length = 1
        else:
            length = self._text_length(start)
        return length if length <= there else 0

    def _text_length(self, start: int) -> int:
        length = _LONGEST_TEXT + 1
        end = self._held.find(b"\r\n\r\n", start, start + _LONGEST_TEXT)
        if end >= 0:
            found = _LENGTH.search(bytes(self._held[start:end]))
            length = end + 4 - start + (int(found[1]) if found else 0)
        elif _TEXT.match(self._held, start) and len(self._held) - start < _LONGEST_TEXT:
            return _LONGEST_TEXT
        if length > _LONGEST_TEXT:
            self._lost, self.unwatched = True, "what its server sends is no RTSP"
        return length

    def _read_session(self, message: bytes) -> None:
        text = message.decode("latin-1").replace("\r\n", "\n")
        sections = _SECTION.findall(text)
        video = next((section for section in sections if section[0] == "video"), None)
        if video is None:
            return
        _, profile, number, lines = video  # OpenCV reads the first
        codec, parameters = _codec(int(number), lines)
        if sum(number == other for _, _, other, _ in sections) > 1:
            self.unwatched = f"payload type {number} stands for several streams"
        elif not profile.startswith("RTP/AVP"):
            self.unwatched = f"its pictures come as {profile}"
        elif payload_reader(codec, parameters) is None:
            self.unwatched = f"the size of {codec} pictures is not read"
        else:
            self._codecs[int(number)], self.unwatched = (codec, parameters), None

    def _look_at(self, message: bytes) -> None:
        channel, packet = message[1], message[4:]
        try:
            reader = self._reader(channel, packet[1] & 0x7F)
            size = None if reader is None else reader(_payload(packet))
        except IndexError:
            return  # it is too short for what it claims to be
        if size is None:
            return
        before = self._sizes.setdefault(channel, size)
        if before != size:
            self.change = before, size

    def _reader(self, channel: int, kind: int) -> PayloadReader | None:
        if (channel, kind) not in self._readers:
            codec = self._codecs.get(kind)
            self._readers[channel, kind] = None if codec is None else payload_reader(*codec)
        return self._readers[channel, kind]


def _codec(number: int, lines: str) -> tuple[str, str]:
    named = re.search(rf"^a=rtpmap:{number} ([^/\s]+)", lines, re.MULTILINE)
    parameters = re.search(rf"^a=fmtp:{number} (.*)", lines, re.MULTILINE)
    codec = named[1].upper() if named else _STATIC.get(number, "an unnamed codec")
    return codec, parameters[1] if parameters else ""


def _payload(packet: bytes) -> bytes:
    """What an RTP packet carries (RFC 3550)."""
    start = 12 + 4 * (packet[0] & 15)
    if packet[0] & 0x10:
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    return packet[start:]
