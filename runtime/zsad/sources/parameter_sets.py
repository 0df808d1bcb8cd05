"""The size of pictures as H.264 and H.265 streams say it: in their sequence parameter sets.

A slice names its picture parameter set, and that one its sequence parameter set. The numbering of
sections is that of ITU-T H.264 and H.265.
"""

from __future__ import annotations

from zsad.sources.bits import BitReader

SizeWH = tuple[int, int]

_WITH_CHROMA_FORMAT = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)
_MOST_OFFSETS = 255
_ENOUGH = 32
"""Bytes of a slice or a picture parameter set that hold what is read of it."""


def h264_sequence(payload: bytes) -> tuple[int, SizeWH]:
    """Return the id of an H.264 sequence parameter set and its pictures' size (7.3.2.1.1).

    Args:
        payload: Of its NAL unit, without emulation prevention.

    Raises:
        EOFError, ValueError: It is none.
    """
    reader = BitReader(payload)
    profile = reader.bits(8)
    reader.bits(16)  # constraints and level
    number = reader.golomb()
    chroma = _h264_chroma(reader) if profile in _WITH_CHROMA_FORMAT else 1
    reader.golomb()  # log2_max_frame_num
    _skip_h264_order(reader)
    reader.golomb()  # max_num_ref_frames
    reader.bits(1)
    width, rows = 16 * (reader.golomb() + 1), 16 * (reader.golomb() + 1)
    fields = 1 if reader.flag() else 2
    if fields == 2:
        reader.bits(1)
    reader.bits(1)  # direct_8x8_inference
    shown, shown_rows = _cropped(reader, chroma, width, rows)
    return number, (shown, fields * shown_rows)


def h265_sequence(payload: bytes) -> tuple[int, SizeWH]:
    """Return the id of an H.265 sequence parameter set and its pictures' size (7.3.2.2.1).

    Args:
        payload: Of its NAL unit, without emulation prevention.

    Raises:
        EOFError, ValueError: It is none.
    """
    reader = BitReader(payload)
    reader.bits(4)
    sub_layers = reader.bits(3)
    reader.bits(1)
    _skip_h265_profile(reader, sub_layers)
    number = reader.golomb()
    chroma = reader.golomb()
    if chroma == 3 and reader.flag():
        chroma = 0
    width, height = reader.golomb(), reader.golomb()
    return number, _cropped(reader, chroma, width, height)


def _h264_chroma(reader: BitReader) -> int:
    chroma = reader.golomb()
    separate = chroma == 3 and reader.flag()
    reader.golomb()  # bit depths
    reader.golomb()
    reader.bits(1)
    if reader.flag():  # scaling matrices
        for index in range(12 if chroma == 3 else 8):
            if reader.flag():
                _skip_scaling_list(reader, 16 if index < 6 else 64)
    return 0 if separate else chroma


def _skip_scaling_list(reader: BitReader, count: int) -> None:
    last = following = 8
    for _ in range(count):
        if following:
            following = (last + reader.signed_golomb()) % 256
        last = following or last


def _skip_h264_order(reader: BitReader) -> None:
    kind = reader.golomb()  # pic_order_cnt_type
    if kind == 0:
        reader.golomb()
    elif kind == 1:
        reader.bits(1)
        reader.golomb()
        reader.golomb()
        if (offsets := reader.golomb()) > _MOST_OFFSETS:
            raise ValueError(f"{offsets} offsets in a cycle of pictures")
        for _ in range(offsets):
            reader.golomb()


def _skip_h265_profile(reader: BitReader, sub_layers: int) -> None:
    reader.bits(96)
    present = [(reader.flag(), reader.flag()) for _ in range(sub_layers)]
    if sub_layers:
        reader.bits(2 * (8 - sub_layers))
    for profile, level in present:
        reader.bits(88 * profile + 8 * level)


def _cropped(reader: BitReader, chroma: int, width: int, height: int) -> SizeWH:
    """What is left of a coded size; what is cut off is counted in samples of chroma."""
    if not reader.flag():
        return width, height
    left, right, top, bottom = (reader.golomb() for _ in range(4))
    unit_x, unit_y = (2 if chroma in (1, 2) else 1), (2 if chroma == 1 else 1)
    return width - unit_x * (left + right), height - unit_y * (top + bottom)


class ParameterSets:
    """The parameter sets of one stream so far, and which of them its pictures use."""

    def __init__(self) -> None:
        """Begin without any."""
        self._sizes: dict[int, SizeWH] = {}  # by sequence parameter set
        self._sequences: dict[int, int] = {}  # by picture parameter set
        self._described: frozenset[int] = frozenset()

    def were_described(self) -> None:
        """Say that those so far are the session description's, which may be out of date.

        They are believed from the first key picture that comes without newer ones.
        """
        self._described = frozenset(self._sizes)

    def h264_unit(self, unit: bytes) -> SizeWH | None:
        """Take an H.264 NAL unit; return the size of the picture that it is a slice of.

        None where it is no slice, or its parameter sets have not come.

        Raises:
            EOFError, ValueError, IndexError: It is damaged.
        """
        kind = unit[0] & 31
        if kind == 7:
            self._keep(*h264_sequence(_unescaped(unit[1:])))
        elif kind == 8:
            self._link(_beginning(unit, 1))
        elif kind in (1, 5):
            reader = _beginning(unit, 1)
            reader.golomb()  # first_mb_in_slice
            reader.golomb()  # slice_type
            return self._size_of(reader.golomb(), is_key=kind == 5)
        return None

    def h265_unit(self, unit: bytes) -> SizeWH | None:
        """Take an H.265 NAL unit; see `h264_unit`."""
        kind, layer = unit[0] >> 1 & 63, (unit[0] & 1) << 5 | unit[1] >> 3
        if layer:
            return None
        if kind == 33:
            self._keep(*h265_sequence(_unescaped(unit[2:])))
        elif kind == 34:
            self._link(_beginning(unit, 2))
        elif kind < 10 or 16 <= kind < 22:
            is_key = kind >= 16
            reader = _beginning(unit, 2)
            reader.bits(2 if is_key else 1)
            return self._size_of(reader.golomb(), is_key)
        return None

    def _keep(self, sequence: int, size_wh: SizeWH) -> None:
        self._sizes[sequence] = size_wh
        self._described -= {sequence}

    def _link(self, reader: BitReader) -> None:
        picture = reader.golomb()
        self._sequences[picture] = reader.golomb()

    def _size_of(self, picture: int, is_key: bool) -> SizeWH | None:
        sequence = self._sequences.get(picture)
        if sequence is None or (sequence in self._described and not is_key):
            return None
        return self._sizes.get(sequence)


def _beginning(unit: bytes, head: int) -> BitReader:
    return BitReader(_unescaped(unit[head:_ENOUGH]))


def _unescaped(payload: bytes) -> bytes:
    return payload.replace(b"\0\0\3", b"\0\0")
