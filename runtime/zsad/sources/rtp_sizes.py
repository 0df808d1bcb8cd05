"""The size of pictures, read off the RTP packets that carry them."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator

from zsad.sources.parameter_sets import ParameterSets, SizeWH

PayloadReader = Callable[[bytes], "SizeWH | None"]
"""Takes one RTP payload after another; returns a size where one carries a picture's beginning."""

_SETS = re.compile(r"sprop-(?:parameter-sets|sps|pps)=([^;\s]+)", re.IGNORECASE)
_ORDERED = re.compile(r"sprop-(?:max-don-diff|depack-buf-nalus)=\s*[1-9]", re.IGNORECASE)
"""Says that decoding order numbers stand between H.265's units, which few servers send."""
_VP8_KEY_FRAME = b"\x9d\x01\x2a"
_H264_ONE = range(1, 24)
_H264_MANY, _H264_PIECE = 24, 28
_H265_MANY, _H265_PIECE = 48, 49


def payload_reader(codec: str, parameters: str) -> PayloadReader | None:
    """Return a reader for one stream; None for a codec whose size is not read here.

    Args:
        codec: Its name in the session description.
        parameters: Its `fmtp` line there, or nothing.
    """
    if codec == "H264":
        return _by_units(parameters, ParameterSets.h264_unit, h264_units)
    if codec == "H265" and not _ORDERED.search(parameters):
        return _by_units(parameters, ParameterSets.h265_unit, h265_units)
    return {"VP8": vp8_size, "JPEG": jpeg_size}.get(codec)


def _by_units(
    parameters: str,
    take: Callable[[ParameterSets, bytes], SizeWH | None],
    split: Callable[[bytes], Iterator[bytes]],
) -> PayloadReader:
    sets = ParameterSets()

    def take_all(units: Iterator[bytes]) -> SizeWH | None:
        size = None
        for unit in units:
            try:
                size = take(sets, unit) or size
            except (EOFError, ValueError, IndexError):
                continue  # the decoder has its own opinion of it
        return size

    take_all(_described_units(parameters))
    sets.were_described()
    return lambda payload: take_all(split(payload))


def _described_units(parameters: str) -> Iterator[bytes]:
    for sets in _SETS.findall(parameters):
        for text in sets.split(","):
            try:
                yield base64.b64decode(text)
            except ValueError:
                continue


def h264_units(payload: bytes) -> Iterator[bytes]:
    """Yield the NAL units of an RTP payload (RFC 6184); of a divided one, its first piece."""
    kind = payload[0] & 31
    if kind in _H264_ONE:
        yield payload
    elif kind == _H264_MANY:
        yield from _aggregated(payload[1:])
    elif kind == _H264_PIECE and payload[1] & 0x80:
        yield bytes([payload[0] & 0xE0 | payload[1] & 31]) + payload[2:]


def h265_units(payload: bytes) -> Iterator[bytes]:
    """Yield the NAL units of an RTP payload (RFC 7798); of a divided one, its first piece."""
    kind = payload[0] >> 1 & 63
    if kind < _H265_MANY:
        yield payload
    elif kind == _H265_MANY:
        yield from _aggregated(payload[2:])
    elif kind == _H265_PIECE and payload[2] & 0x80:
        yield bytes([payload[0] & 0x81 | (payload[2] & 63) << 1, payload[1]]) + payload[3:]


def _aggregated(units: bytes) -> Iterator[bytes]:
    while len(units) > 2:
        end = 2 + int.from_bytes(units[:2], "big")
        yield units[2:end]
        units = units[end:]


def vp8_size(payload: bytes) -> SizeWH | None:
    """Return the size in a payload that begins a VP8 key frame (RFC 7741)."""
    begins = payload[0] & 0x1F == 0x10  # first packet of the first partition
    head = 1
    if payload[0] & 0x80:
        extended, head = payload[1], 2
        if extended & 0x80:
            head += 2 if payload[head] & 0x80 else 1
        head += bool(extended & 0x40) + bool(extended & 0x30)
    frame = payload[head : head + 10]
    if not begins or len(frame) < 10 or frame[0] & 1 or frame[3:6] != _VP8_KEY_FRAME:
        return None
    width, height = (int.from_bytes(frame[at : at + 2], "little") for at in (6, 8))
    return width & 0x3FFF, height & 0x3FFF


def jpeg_size(payload: bytes) -> SizeWH | None:
    """Return the size in a JPEG payload (RFC 2435), in steps of 8; None for one beyond 2040."""
    width, height = 8 * payload[6], 8 * payload[7]
    return (width, height) if width and height else None
