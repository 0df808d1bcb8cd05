"""HTTP cameras: what comes in which pieces, and what of it is a whole picture."""

import random

import cv2
import numpy as np
import pytest

from zsad.sources.multipart import Multipart, is_whole_jpeg, jpeg_size_wh

BODIES = [b"\xff\xd8" + bytes([n]) * (50 + n) + b"\xff\xd9" for n in range(5)]


def stream(bodies, boundary=b"--cut", with_length=True, line=b"\r\n"):
    content = b""
    for body in bodies:
        length = b"Content-Length: %d" % len(body) + line if with_length else b""
        content += boundary + line + b"Content-Type: image/jpeg" + line + length + line
        content += body + line
    return content


def cut_up(content, seed):
    pieces, choices = [], random.Random(seed)
    while content:
        count = choices.randint(1, 40)
        pieces.append(content[:count])
        content = content[count:]
    return pieces


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["cut", "--cut", '"cut"'])
@pytest.mark.parametrize("line", [b"\r\n", b"\n"])
def test_pictures_come_out_whole_however_they_were_cut_up(seed, name, line):
    parts = Multipart(name)
    found = [b for piece in cut_up(stream(BODIES, line=line), seed) for b in parts.feed(piece)]
    assert found == BODIES


@pytest.mark.parametrize("name", ["", "--", '""'])
@pytest.mark.parametrize("seed", range(3))
def test_a_boundary_that_is_not_named_is_that_of_the_first_part(seed, name):
    """Two dashes stand in one of two pictures of 60 kB by chance."""
    bodies = [
        b"\xff\xd8" + bytes([n]) * 50 + b"--" + bytes([n]) * 50 + b"\xff\xd9" for n in range(5)
    ]
    parts = Multipart(name)
    found = [b for piece in cut_up(stream(bodies), seed) for b in parts.feed(piece)]
    assert found == bodies


def test_a_part_with_a_length_is_complete_with_its_last_byte():
    content = stream(BODIES[:1]).rstrip(b"\r\n")
    assert list(Multipart("cut").feed(content[:-1])) == []
    assert list(Multipart("cut").feed(content)) == BODIES[:1]


def test_without_lengths_a_part_ends_at_the_next_boundary():
    found = list(Multipart("cut").feed(stream(BODIES, with_length=False)))
    assert [body.rstrip(b"\r\n") for body in found] == BODIES[:-1]


def test_garbage_before_and_a_lie_about_the_length_cost_only_their_own_part():
    lie = b"--cut\r\nContent-Length: 900\r\n\r\n" + BODIES[0][:20] + b"\r\n"
    found = list(Multipart("cut").feed(b"garbage" * 9 + lie + stream(BODIES[1:])))
    assert [is_whole_jpeg(body) for body in found] == [False, True, True, True, True]
    assert found[1:] == BODIES[1:]


def test_an_endless_part_is_refused():
    parts = Multipart("cut", longest=1000)
    list(parts.feed(b"--cut\r\nContent-Length: 99999999\r\n\r\n"))
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        for _ in range(1000):
            list(parts.feed(b"x" * 100))


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b"\xff\xd8 picture \xff\xd9", True),
        (b"\xff\xd8 picture \xff\xd9\0\0\r\n", True),
        (b"\xff\xd8 pict", False),
        (b"picture \xff\xd9", False),
        (b"", False),
    ],
)
def test_half_a_picture_is_none(body, whole):
    assert is_whole_jpeg(body) is whole


def test_the_size_of_a_jpeg_is_read_off_its_header():
    for quality, progressive in ((30, 0), (95, 1)):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
        body = cv2.imencode(".jpg", np.zeros((40, 70, 3), np.uint8), options)[1].tobytes()
        assert jpeg_size_wh(body) == (70, 40)
        assert jpeg_size_wh(b"\xff\xd8\xff" + body[2:]) == (70, 40), "a byte of padding"
        assert {jpeg_size_wh(body[:cut]) for cut in range(30)} == {None}
