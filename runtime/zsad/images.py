"""Image files to frames, with every kind of bad file told apart in one line."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from zsad.errors import InputError
from zsad.preprocess import MAX_PIXELS
from zsad.types import ImageU8

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

Scale16 = Literal["10", "12", "14", "16", "minmax"]
"""How deeper pixels become 8 bits: by the camera's significant bits, or each image stretched."""

SCALES_16BIT: tuple[Scale16, ...] = ("10", "12", "14", "16", "minmax")

# An allow-list: some of Pillow's other readers start programs or take anything for an image.
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_PNG_DEPTH_BYTE = 24
_TIFF_BITS_PER_SAMPLE = 258


def list_images(directory: str | Path) -> list[Path]:
    """Return the image files of a folder, by suffix and sorted by name; sub-folders are left out.

    Raises:
        InputError: The folder is missing or holds no image.
    """
    folder = Path(directory)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"image folder {folder} {what}")
    try:
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise InputError(f"image folder {folder} cannot be read: {error.strerror}") from None
    images = [p for p in entries if p.suffix.lower() in SUFFIXES and p.is_file()]
    if images:
        return images
    if inner := [p.name for p in entries if p.is_dir()]:
        raise InputError(
            f"{folder} holds no image, only sub-folders: name one, as {folder / inner[0]}"
        )
    raise InputError(f"{folder} holds no image: looked for {', '.join(SUFFIXES)}")


def read_image(path: str | Path, scale_16bit: Scale16 | None = None) -> ImageU8:
    """Read an image file as the frame that a camera would have given.

    Grey is replicated to three channels, alpha is dropped, palettes and CMYK become colours. The
    EXIF orientation is applied: what a viewer shows is what is judged. The size is checked in the
    header, before any pixel is decoded.

    Args:
        path: A BMP, JPEG, PNG, PGM/PPM, TIFF or WebP file with one image.
        scale_16bit: How an image of more than 8 bits becomes 8 bits. A number is the camera's
            significant bits, so that 2^bits - 1 becomes 255; `minmax` stretches each image from
            its own minimum to its own maximum, which changes from image to image. None refuses.

    Returns:
        (H, W, 3) uint8, BGR, contiguous.

    Raises:
        InputError: The file is missing, empty, no image, truncated, above the size limit, deeper
            than 8 bits without `scale_16bit`, or holds floating point or several images.
    """
    file = Path(path)
    _check_file(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _read(file, scale_16bit)
    except InputError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        limit = MAX_PIXELS // 10**6
        raise InputError(f"{file} is above the limit of {limit} megapixels: crop it") from None
    except UnidentifiedImageError:
        raise InputError(
            f"{file} is not an image that can be read: use 8-bit {', '.join(_FORMATS)}"
        ) from None
    except Exception as error:  # a decoder may raise anything on bytes that are not what they claim
        if isinstance(error, OSError) and error.strerror:  # the system's, not a decoder's
            raise InputError(f"image {file} cannot be read: {error.strerror}") from None
        raise InputError(f"{file} is truncated or corrupt: {error}") from None


def frame_sha256(frame_bgr: ImageU8) -> str:
    """Return the identity of a frame, in hex: SHA-256 of its shape as text, then its pixels.

    Args:
        frame_bgr: (H, W, 3) uint8 BGR.
    """
    digest = hashlib.sha256(str(frame_bgr.shape).encode())
    digest.update(np.ascontiguousarray(frame_bgr).data)
    return digest.hexdigest()


def _check_file(file: Path) -> None:
    if not file.is_file():
        what = "is not a file" if file.exists() else "does not exist"
        raise InputError(f"image {file} {what}")
    if file.stat().st_size == 0:
        raise InputError(f"image {file} is empty (0 bytes)")


def _read(file: Path, scale_16bit: Scale16 | None) -> ImageU8:
    with Image.open(file, formats=_FORMATS) as image:
        _check_header(image, file)
        if _is_deep(image, file):
            return _read_deep(file, scale_16bit)
        image.load()
        rgb = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    return np.ascontiguousarray(rgb[:, :, ::-1])


def _check_header(image: Image.Image, file: Path) -> None:
    width, height = image.size
    if width == 0 or height == 0:
        raise InputError(f"image {file} has no pixels: {width}x{height}")
    if width * height > MAX_PIXELS:
        found, limit = width * height / 1e6, MAX_PIXELS // 10**6
        raise InputError(f"{file} has {found:.0f} megapixels, above the limit of {limit}: crop it")
    # A phone's JPEG may carry a preview as its second picture; that one is no frame.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        count = getattr(image, "n_frames", 2)
        raise InputError(f"{file} holds {count} images: save each as a file of its own")


def _is_deep(image: Image.Image, file: Path) -> bool:
    """Whether a sample has more than 8 bits; Pillow cuts deep colour down without a word."""
    header: Any = image  # tags and tiles belong to the formats' own classes
    if image.mode.startswith(("I", "F")):
        return True
    if image.format == "PNG":
        with file.open("rb") as stream:
            return stream.read(_PNG_DEPTH_BYTE + 1)[_PNG_DEPTH_BYTE] > 8
    if image.format == "TIFF":
        return any(bits > 8 for bits in header.tag_v2.get(_TIFF_BITS_PER_SAMPLE, ()))
    if image.format == "PPM":
        args = header.tile[0][3]  # (raw mode, largest value)
        return isinstance(args, tuple) and args[1] > 255
    return False


def _read_deep(file: Path, scale_16bit: Scale16 | None) -> ImageU8:
    import cv2

    encoded = np.fromfile(file, dtype=np.uint8)
    pixels: Any = cv2.imdecode(encoded, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if pixels is None:
        raise InputError(f"{file} is truncated, corrupt or of an unknown pixel type")
    if pixels.dtype != np.uint16:
        raise InputError(f"{file} holds {pixels.dtype} pixels: save it with 8 or 16 bits")
    if scale_16bit is None:
        raise InputError(
            f"{file} has 16 bits per sample, 8 are wanted: convert it; zsad-run and zsad-calibrate"
            f" can scale it with --scale-16bit {'|'.join(SCALES_16BIT)}"
        )
    grey = _to_8bit(pixels, scale_16bit, file)
    return np.ascontiguousarray(grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2))


def _to_8bit(pixels: npt.NDArray[np.uint16], scale: Scale16, file: Path) -> ImageU8:
    low, high = 0, 0
    if scale == "minmax":
        low, high = int(pixels.min()), int(pixels.max())
    else:
        high = 2 ** int(scale) - 1
        if (largest := int(pixels.max())) > high:
            raise InputError(
                f"{file} has values up to {largest}, above {scale} bits: choose another"
                " --scale-16bit"
            )
    span = max(1, high - low)
    scaled = (pixels.astype(np.float32) - low) * np.float32(255 / span)
    grey: ImageU8 = np.rint(scaled).astype(np.uint8)
    return grey
