import errno

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from zsad.errors import InputError
from zsad.images import list_images, read_image

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)


def saved(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tif"])
def test_colours_come_as_bgr(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(RGB))
    frame = read_image(path)
    np.testing.assert_array_equal(frame, RGB[:, :, ::-1])
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous


def test_grey_is_replicated_and_alpha_dropped(tmp_path):
    grey = RGB[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    alpha = np.zeros((5, 7, 1), np.uint8)
    for name, image, want in [
        ("grey", Image.fromarray(grey), expected),
        ("grey_alpha", Image.fromarray(np.dstack([grey, alpha]), "LA"), expected),
        ("rgba", Image.fromarray(np.dstack([RGB, alpha])), RGB[:, :, ::-1]),
    ]:
        path = saved(tmp_path / f"{name}.png", image)
        np.testing.assert_array_equal(read_image(path), want, err_msg=name)


def test_bilevel_becomes_black_and_white(tmp_path):
    bits = np.array([[0, 255], [255, 0]], np.uint8)
    path = saved(tmp_path / "bits.png", Image.fromarray(bits).convert("1"))
    np.testing.assert_array_equal(read_image(path)[..., 0], bits)


@pytest.mark.parametrize("transparency", [None, bytes(range(256)), 3])
def test_a_palette_becomes_its_colours(tmp_path, transparency):
    image = Image.fromarray(RGB).quantize(16)
    options = {} if transparency is None else {"transparency": transparency}
    path = saved(tmp_path / "palette.png", image, **options)
    np.testing.assert_array_equal(read_image(path)[:, :, ::-1], np.asarray(image.convert("RGB")))


def test_cmyk_becomes_rgb(tmp_path):
    path = saved(tmp_path / "a.tif", Image.new("CMYK", (3, 2), (0, 255, 255, 0)))
    np.testing.assert_array_equal(read_image(path), np.broadcast_to([0, 0, 255], (2, 3, 3)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x112] = orientation
    image = Image.fromarray(RGB)
    path = saved(tmp_path / f"a.{suffix}", image, exif=exif)
    with Image.open(path) as stored:
        upright = np.asarray(ImageOps.exif_transpose(stored))
    np.testing.assert_array_equal(read_image(path)[:, :, ::-1], upright)
    assert (read_image(path).shape[:2] == (7, 5)) == (orientation >= 5)


def test_a_name_beyond_ascii_is_read(tmp_path):
    path = saved(tmp_path / "Prüfteil 検査.png", Image.fromarray(RGB))
    assert read_image(path).shape == (5, 7, 3)


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm"])
def test_16_bit_wants_a_scale(tmp_path, suffix):
    path = tmp_path / f"deep.{suffix}"
    cv2.imwrite(str(path), DEEP)
    with pytest.raises(InputError, match=r"16 bits per sample, 8 are wanted: .* --scale-16bit"):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, "16"), np.rint(DEEP / 257))


@pytest.mark.parametrize("suffix", ["png", "pgm", "tif"])
def test_16_bit_grey_is_scaled_and_replicated(tmp_path, suffix):
    path = tmp_path / f"deep.{suffix}"
    cv2.imwrite(str(path), DEEP[..., 0])
    expected = np.repeat(np.rint(DEEP[..., :1] / 257), 3, axis=2)
    np.testing.assert_array_equal(read_image(path, "16"), expected)


def test_16_bit_alpha_is_dropped(tmp_path):
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.dstack([DEEP, DEEP[..., :1]]))
    np.testing.assert_array_equal(read_image(path, "16"), np.rint(DEEP / 257))


@pytest.mark.parametrize(("bits", "full"), [("10", 1023), ("12", 4095), ("14", 16383)])
def test_significant_bits_map_to_the_full_range(tmp_path, bits, full):
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.array([[0, full // 2, full]], np.uint16))
    assert read_image(path, bits)[0, :, 0].tolist() == [0, 127, 255]
    cv2.imwrite(str(path), np.array([[0, full + 1]], np.uint16))
    with pytest.raises(InputError, match=f"values up to {full + 1}, above {bits} bits"):
        read_image(path, bits)


def test_minmax_stretches_each_image_and_takes_a_flat_one(tmp_path):
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.array([[1000, 1500, 2000]], np.uint16))
    assert read_image(path, "minmax")[0, :, 0].tolist() == [0, 128, 255]
    cv2.imwrite(str(path), np.full((2, 2), 700, np.uint16))
    assert read_image(path, "minmax").max() == 0


def test_an_8_bit_image_ignores_the_16_bit_scale(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(RGB))
    np.testing.assert_array_equal(read_image(path, "12"), RGB[:, :, ::-1])


def png_without_pixels(path):
    Image.new("L", (1, 1)).save(path, "PNG")
    content = bytearray(path.read_bytes())
    content[16:24] = bytes(8)  # width and height of the header
    path.write_bytes(content)


def cut(path, format_name="PNG", share=0.5):
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path, format_name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def cut_deep(path):
    cv2.imwrite(str(path.with_suffix(".png")), np.tile(DEEP, (20, 20, 1)))
    content = path.with_suffix(".png").read_bytes()
    path.write_bytes(content[: len(content) // 2])


BAD = {
    "text": (lambda p: p.write_text("hello"), "is not an image that can be read"),
    "nothing": (lambda p: p.write_bytes(b""), r"is empty \(0 bytes\)"),
    "missing": (lambda p: None, "does not exist"),
    "folder": (lambda p: p.mkdir(), "is not a file"),
    "no pixels": (png_without_pixels, "has no pixels|corrupt|is not an image"),
    "cut png": (cut, "is truncated or corrupt"),
    "cut jpeg": (lambda p: cut(p, "JPEG"), "is truncated or corrupt"),
    "cut webp": (lambda p: cut(p, "WEBP"), "corrupt|is not an image"),
    "cut 16-bit": (cut_deep, "is truncated, corrupt"),
    "72 MP": (lambda p: Image.new("1", (9000, 8000)).save(p, "PNG"), "72 megapixels, above the"),
    "100 MP": (lambda p: Image.new("1", (10000, 10000)).save(p, "PNG"), "limit of 64 megapixels"),
    "196 MP": (lambda p: Image.new("1", (14000, 14000)).save(p, "PNG"), "limit of 64 megapixels"),
    "float": (lambda p: Image.fromarray(np.ones((3, 3), np.float32)).save(p, "TIFF"), "float32"),
    "int32": (lambda p: Image.fromarray(np.ones((3, 3), np.int32)).save(p, "TIFF"), "int32"),
    "pages": (
        lambda p: Image.new("L", (2, 2)).save(
            p, "TIFF", save_all=True, append_images=[Image.new("L", (2, 2))]
        ),
        "holds 2 images",
    ),
    "gif": (lambda p: Image.new("L", (2, 2)).save(p, "GIF"), "is not an image that can be read"),
}


@pytest.mark.parametrize("kind", BAD)
def test_each_bad_file_is_one_line_that_names_it(tmp_path, kind):
    make, message = BAD[kind]
    path = tmp_path / "bad.png"
    make(path)
    with pytest.raises(InputError, match=message) as caught:
        read_image(path, "16")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_large_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    Image.new("1", (9000, 8000)).save(path)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(InputError, match="megapixels"):
        read_image(path)


def test_a_file_that_the_system_does_not_give_is_not_called_corrupt(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    path = saved(tmp_path / "a.png", Image.fromarray(RGB))
    monkeypatch.setattr(Image, "open", refuse)  # root may read everything
    with pytest.raises(InputError, match=r"a\.png cannot be read: Permission denied$"):
        read_image(path)


def test_damaged_bytes_give_an_image_or_an_input_error(tmp_path):
    sources = []
    for name in ("a.png", "a.jpg", "a.bmp", "a.tif", "a.webp", "a.ppm"):
        sources.append(saved(tmp_path / name, Image.fromarray(RGB)).read_bytes())
    cv2.imwrite(str(tmp_path / "deep.png"), DEEP)
    sources.append((tmp_path / "deep.png").read_bytes())
    path = tmp_path / "damaged"
    for index in range(400):
        content = bytearray(sources[index % len(sources)])
        for position in RNG.integers(0, len(content), 1 + index % 4):
            content[position] = RNG.integers(0, 256)
        path.write_bytes(content[: None if index % 3 else RNG.integers(1, len(content))])
        try:
            frame = read_image(path, "16")
        except InputError:
            continue
        assert frame.ndim == 3


def test_a_folder_lists_its_images_by_name(tmp_path):
    for name in ("b.PNG", "a.jpeg", "c.tiff", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [p.name for p in list_images(tmp_path)] == ["a.jpeg", "b.PNG", "c.tiff"]


def test_a_folder_without_images_says_where_to_look(tmp_path):
    with pytest.raises(InputError, match=r"holds no image: looked for .bmp"):
        list_images(tmp_path)
    (tmp_path / "good").mkdir()
    with pytest.raises(InputError, match=r"only sub-folders: name one, as .*good"):
        list_images(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        list_images(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is not a folder"):
        list_images(tmp_path / "file")
