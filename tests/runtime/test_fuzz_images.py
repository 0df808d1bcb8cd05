"""Whatever an image file holds, it becomes a frame or is refused in one line."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from fuzzing import damaged_bytes, survives
from PIL import Image

from zsad.images import SCALES_16BIT, SUFFIXES, read_image
from zsad.preprocess import PreprocessSpec, resize_exact

PIXELS = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
SPEC = PreprocessSpec(8, 12)


def saved(mode, kind, **options):
    image = Image.fromarray(PIXELS)
    if mode == "I;16":
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200)
    elif mode != "RGB":
        image = image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width, height, depth=8, colour=2):
    """A PNG whose header promises what its data does not keep."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


WHOLE = {
    "png": saved("RGB", "PNG"),
    "png grey": saved("L", "PNG"),
    "png alpha": saved("RGBA", "PNG"),
    "png grey alpha": saved("LA", "PNG"),
    "png palette": saved("P", "PNG"),
    "png 1 bit": saved("1", "PNG"),
    "jpeg": saved("RGB", "JPEG"),
    "jpeg cmyk": saved("CMYK", "JPEG"),
    "bmp": saved("RGB", "BMP"),
    "tiff": saved("RGB", "TIFF"),
    "tiff lzw": saved("RGB", "TIFF", compression="tiff_lzw"),
    "webp": saved("RGB", "WEBP"),
    "ppm": saved("RGB", "PPM"),
    "pgm": saved("L", "PPM"),
}
DEEP = {
    "png 16 bit": saved("I;16", "PNG"),
    "tiff 16 bit": saved("I;16", "TIFF"),
    "tiff float": saved("F", "TIFF"),
    "pgm 16 bit": b"P5 3 3 65535\n" + bytes(range(18)),
}
REFUSED = {
    "0 x 0": png_header(0, 0),
    "0 x 5": png_header(0, 5),
    "100 megapixels": png_header(10_000, 10_000),
    "10 gigapixels": png_header(100_000, 100_000, 1, 0),
    "a header as large as can be": png_header(2**31 - 1, 2**31 - 1, 16),
    "64 megapixels of nothing": png_header(8000, 8000),
    "ppm of 0 x 0": b"P6 0 0 255\n",
    "ppm of 10 gigapixels": b"P6 100000 100000 255\n",
    "ppm of negative width": b"P6 -1 3 255\n",
    "ppm of too deep pixels": b"P6 3 3 99999\n",
    "two frames": saved("RGB", "TIFF", save_all=True, append_images=[Image.fromarray(PIXELS)]),
    "gif": saved("P", "GIF"),
    "text": b"no image at all",
    "one byte": b"\x89",
}


@pytest.fixture
def read_as(tmp_path):
    """Return `read(content, suffix=".png", scale=None)`."""

    def read(content, suffix=".png", scale=None):
        path = tmp_path / f"frame{suffix}"
        path.write_bytes(content)
        frame = read_image(path, scale)
        assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
        assert frame.flags.c_contiguous
        resize_exact(frame, SPEC)

    return read


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_an_image_is_known_by_its_bytes_and_not_by_its_suffix(read_as, name, suffix):
    read_as(WHOLE[name], suffix)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("scale", [None, "minmax"])
def test_what_is_no_frame_is_refused(read_as, name, scale):
    assert not survives(lambda content: read_as(content, scale=scale), REFUSED[name], name)


@pytest.mark.parametrize("name", DEEP)
def test_deep_pixels_are_refused_without_a_scale(read_as, name):
    assert not survives(read_as, DEEP[name], name)


@pytest.mark.parametrize("name", [*WHOLE, *DEEP])
def test_a_damaged_image_becomes_a_frame_or_one_line(read_as, name):
    content = {**WHOLE, **DEEP}[name]
    for seed in range(60):
        rng = random.Random(f"{name} {seed}")
        suffix, scale = rng.choice(SUFFIXES), rng.choice([None, *SCALES_16BIT])

        def read(damaged, suffix=suffix, scale=scale):
            read_as(damaged, suffix, scale)

        survives(read, damaged_bytes(content, rng), f"{name} {seed}")
