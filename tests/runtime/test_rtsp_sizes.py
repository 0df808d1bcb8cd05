"""The size of pictures in RTSP streams, read off headers and streams that are known by hand."""

import base64
import random
import struct

import pytest

from zsad.sources.bits import BitReader
from zsad.sources.parameter_sets import h264_sequence, h265_sequence
from zsad.sources.rtp_sizes import h264_units, h265_units, payload_reader, vp8_size
from zsad.sources.rtsp_watch import RtspWatch

# Sequence parameter sets of x264 and x265, 1920x1080 cropped from 1088 lines unless said otherwise.
X264 = {
    (1920, 1080): "6742c028da01e0089f97016a02020280000003008000001e478c1950",
    (1918, 1078): "6742c028da01e0089ea6c05a808080a0000003002000000791e30654",  # interlaced
    (100, 50): "67f4000d919687278d8fc05a83030320000003002000000791e28554",  # 4:4:4
    (322, 242): "677a000dbcb40a843c447e02d41818190000030001000003003c8f142aa0",  # 4:2:2
}
X265 = {
    (1918, 1078): "420101016000000300900000030000030078a003c0801107536595952930bffc00040005"
    "a808080820000003002000000303c1",
    (100, 50): "4201010408000003009e0800000300003f90071020e363f2caca94985ffe00020002d418181810"
    "000003001000000301e080",  # 4:4:4
}
PPS_264 = bytes.fromhex("68ce3c80")
KEY_264 = bytes.fromhex("658884082262800082449c9c")
PPS_265 = bytes.fromhex("4401c073c189")
KEY_265 = bytes.fromhex("2801ac2d0443412001a00a00")


def sps(size_wh, known=X264):
    return bytes.fromhex(known[size_wh])


def header(*fields):
    """Write `(value, bits)`, or a number alone in Exp-Golomb code, and then a stop bit."""
    text = ""
    for field in fields:
        if isinstance(field, tuple):
            text += format(field[0], f"0{field[1]}b") if field[1] else ""
        else:
            digits = format(field + 1, "b")
            text += "0" * (len(digits) - 1) + digits
    text += "1"
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def bare(unit, head):
    return unit[head:].replace(b"\0\0\3", b"\0\0")


@pytest.mark.parametrize("size_wh", X264)
def test_the_size_that_an_h264_encoder_writes(size_wh):
    assert h264_sequence(bare(sps(size_wh), 1)) == (0, size_wh)


@pytest.mark.parametrize("size_wh", X265)
def test_the_size_that_an_h265_encoder_writes(size_wh):
    assert h265_sequence(bare(sps(size_wh, X265), 2)) == (0, size_wh)


def test_what_few_encoders_write_before_the_size_is_passed_over():
    lists = [(1, 1), (1, 1), *[0] * 16, *[(0, 1)] * 6, (1, 1), 16]  # 16 is -8, which ends a list
    order = [1, (0, 1), 0, 0, 2, 7, 9]  # pic_order_cnt_type 1 with two offsets
    rest = [3, (0, 1), 39, 29, (1, 1), (1, 1), (0, 1), (0, 1)]
    wanted = header((100, 8), (0, 16), 3, 1, 0, 0, (0, 1), *lists, 4, *order, *rest)
    assert h264_sequence(wanted) == (3, (640, 480))
    layers = [(0, 4), (2, 3), (1, 1), (0, 96), (0b1101, 4), (0, 12), (0, 88 + 8 + 8)]
    assert h265_sequence(header(*layers, 5, 1, 640, 480, (1, 1), 0, 2, 0, 1)) == (5, (636, 478))


def test_numbers_in_a_header():
    reader = BitReader(header(0, 1, 7, 254, 3, 4))
    assert [reader.golomb() for _ in range(4)] == [0, 1, 7, 254]
    assert [reader.signed_golomb() for _ in range(2)] == [2, -2]
    with pytest.raises(EOFError):
        reader.bits(99)
    with pytest.raises(ValueError, match="Exp-Golomb"):
        BitReader(bytes(20)).golomb()


def test_a_set_that_claims_more_than_the_standard_allows_is_given_up_at_once():
    order = [1, (0, 1), 0, 0, 256, *[0] * 300]
    with pytest.raises(ValueError, match="256 offsets"):
        h264_sequence(header((66, 8), (0, 16), 0, 0, *order, 0, (0, 1), 9, 9, (1, 1), (0, 2)))


def test_a_divided_unit_counts_once_by_its_beginning():
    begins, goes_on = bytes([0x7C, 0x85]), bytes([0x7C, 0x05])
    assert list(h264_units(begins + KEY_264[1:])) == [KEY_264]
    assert list(h264_units(goes_on + b"more")) == []
    many = b"".join(struct.pack("!H", len(unit)) + unit for unit in (sps((100, 50)), PPS_264))
    assert list(h264_units(b"\x78" + many)) == [sps((100, 50)), PPS_264]
    begins, goes_on = bytes([0x62, 1, 0x94]), bytes([0x62, 1, 0x14])
    assert list(h265_units(begins + KEY_265[2:])) == [KEY_265]
    assert list(h265_units(goes_on + b"more")) == []
    assert list(h265_units(b"\x60\x01" + many)) == [sps((100, 50)), PPS_264]


@pytest.mark.parametrize(
    ("codec", "known", "pps", "key"),
    [("H264", X264, PPS_264, KEY_264), ("H265", X265, PPS_265, KEY_265)],
)
def test_a_set_counts_from_the_picture_that_uses_it(codec, known, pps, key):
    read = payload_reader(codec, "")
    assert read(key) is None
    for size_wh in ((1918, 1078), (100, 50)):
        assert (read(sps(size_wh, known)), read(pps)) == (None, None)
        assert read(key) == size_wh


def test_a_set_of_another_number_changes_nothing_until_it_is_used():
    read = payload_reader("H264", "")
    for unit in (sps((1920, 1080)), PPS_264):
        read(unit)
    other = header((66, 8), (0, 16), 1, 0, 2, 1, (0, 1), 9, 9, (1, 1), (0, 1), (0, 1))
    read(b"\x67" + other)
    read(b"\x68" + header(1, 1))
    assert read(KEY_264) == (1920, 1080)
    assert read(b"\x65" + header(0, 7, 1)) == (160, 160)


def test_a_description_that_is_out_of_date_is_no_change():
    sets = ",".join(base64.b64encode(u).decode() for u in (sps((100, 50)), PPS_264))
    read = payload_reader("H264", f"packetization-mode=1;sprop-parameter-sets={sets};x=y")
    slice_of_no_key = b"\x41" + header(0, 5, 0)
    assert read(slice_of_no_key) is None
    assert read(KEY_264) == (100, 50), "a camera that sends its sets in the description alone"
    read(sps((1920, 1080)))
    assert read(slice_of_no_key) == (1920, 1080), "pictures may be refreshed bit by bit"


def test_a_description_that_is_damaged_does_not_stop_the_stream():
    watch = RtspWatch()
    damaged = "a=fmtp:96 sprop-parameter-sets=Z\N{LATIN SMALL LETTER E WITH ACUTE}=,aM48gA=="
    stream = described(*VIDEO, damaged) + b"".join(pictures((1920, 1080)))
    assert watch.pass_on(stream) == stream
    watch.pass_on(b"".join(pictures((100, 50))))
    assert watch.change == ((1920, 1080), (100, 50))


def test_key_frames_of_vp8_and_every_picture_of_jpeg_say_their_size():
    frame = bytes([0x10, 0, 0]) + b"\x9d\x01\x2a" + struct.pack("<HH", 640 | 0x4000, 480)
    assert vp8_size(b"\x10" + frame) == (640, 480)
    assert vp8_size(b"\x90\x80\x81\x02" + frame) == (640, 480)
    assert vp8_size(b"\x90\xe0\x01\x02\x03" + frame) == (640, 480)
    assert vp8_size(b"\x00" + frame) is None, "it does not begin a picture"
    assert vp8_size(b"\x10\x11" + frame[1:]) is None, "it is no key frame"
    read = payload_reader("JPEG", "")
    assert read(bytes([0, 0, 0, 0, 1, 80, 40, 30])) == (320, 240)
    assert read(bytes([0, 0, 0, 0, 1, 80, 0, 0])) is None
    assert payload_reader("AV1", "") is None
    assert payload_reader("H265", "sprop-max-don-diff=2") is None


def packet(payload, channel=0, kind=96, head=b"\x80"):
    rtp = head + bytes([kind]) + struct.pack("!HII", 1, 2, 3) + payload
    return struct.pack("!BBH", 0x24, channel, len(rtp)) + rtp


def described(*lines):
    body = "\r\n".join(("v=0", "s=camera", "t=0 0", *lines)) + "\r\n"
    answer = f"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    return answer.encode("latin-1")


VIDEO = ("m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000")
ANSWER = b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n"


def pictures(size_wh, **options):
    return [packet(unit, **options) for unit in (sps(size_wh), PPS_264, KEY_264)]


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_all_passes_as_it_came_up_to_the_picture_of_another_size(step):
    extended = b"\x91", struct.pack("!I", 9) + struct.pack("!HHI", 1, 1, 0)
    before = b"".join(
        (
            ANSWER,
            described(*VIDEO, "m=audio 0 RTP/AVP 8"),
            *pictures((1920, 1080)),
            b"\r\n",
            packet(b"sound", channel=2, kind=8),
            packet(b"report", channel=1, kind=72),
            packet(extended[1] + KEY_264, head=extended[0]),
            packet(b""),
            struct.pack("!BBH", 0x24, 0, 0),
            ANSWER,
        )
    )
    change = b"".join(pictures((100, 50)))
    key = packet(KEY_264)
    whole, watch = before + change + before, RtspWatch()
    passed = b"".join(watch.pass_on(whole[at : at + step]) for at in range(0, len(whole), step))
    assert passed == before + change.removesuffix(key)
    assert watch.change == ((1920, 1080), (100, 50))
    assert watch.rest() == b""


def test_a_piece_at_the_end_is_passed_on_there():
    watch = RtspWatch()
    assert watch.pass_on(ANSWER + packet(b"half")[:9]) == ANSWER
    assert watch.rest() == packet(b"half")[:9]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (VIDEO, None),
        (("m=video 0 RTP/AVP 26",), None),
        (("m=audio 0 RTP/AVP 0", *VIDEO), None),
        ((*VIDEO, "m=audio 0 RTP/AVP 96"), "payload type 96 stands for several streams"),
        (("m=video 0 RTP/SAVP 96", VIDEO[1]), "its pictures come as RTP/SAVP"),
        ((VIDEO[0], "a=rtpmap:96 AV1/90000"), "the size of AV1 pictures is not read"),
        (VIDEO[:1], "the size of an unnamed codec pictures is not read"),
        (("m=audio 0 RTP/AVP 0",), "no video is described"),
    ],
)
def test_it_says_whether_a_change_would_be_seen(lines, words):
    watch = RtspWatch()
    stream = described(*lines) + b"".join(pictures((1920, 1080)) + pictures((100, 50)))
    passed = watch.pass_on(stream)
    assert watch.unwatched == words
    if words is not None:
        assert (passed, watch.change) == (stream, None)


def test_of_two_streams_on_one_connection_each_has_a_size_of_its_own():
    watch = RtspWatch()
    other = described(*VIDEO) + b"".join(pictures((1920, 1080)) + pictures((100, 50), channel=2))
    assert watch.pass_on(other) == other
    assert watch.change is None


def test_whatever_comes_is_passed_on_unharmed():
    numbers = random.Random(7)
    for _ in range(300):
        noise = numbers.randbytes(numbers.randrange(1, 80))
        stream = described(*VIDEO) + packet(noise) + packet(sps((100, 50))[:5] + noise) + noise
        watch = RtspWatch()
        assert watch.pass_on(stream) + watch.rest() == stream


def test_what_is_no_rtsp_is_passed_on_at_once():
    for stream in (
        b"\x00\x01\x02\x03" * 10,
        b"x$\x00\x00\x04abcd",  # a stray letter between packets
        b"A" * 70_000,
        b"A\r\nContent-Length: 99999999\r\n\r\n",
        b"A\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    ):
        watch = RtspWatch()
        assert watch.pass_on(stream) == stream
        assert watch.unwatched == "what its server sends is no RTSP"
        assert watch.pass_on(b"on") == b"on"
