"""Maps, masks and frames of a whole data set, in a temporary file and not in memory.

Pixel metrics need every map of a class at once, and of one class at a time. At 518x518 an image
takes 2.1 MB, so the 10,821 images of VisA would take 23 GB of memory; the largest of its classes
takes a tenth.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from zsad.closeable import Closeable
from zsad.errors import InputError
from zsad.types import ArrayBool, ArrayF32, ImageU8


class PixelFile(Closeable):
    """A file without a name, which even a killed process leaves no trace of.

    It is made with the first image, in the folder that `tempfile` finds: `TMPDIR`, or `/tmp`.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._file: IO[bytes] | None = None
        self._held = 0
        self.map_hw: tuple[int, int] | None = None
        """Rows and columns of every map; None as long as there is none."""

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            # On a full disk the rest of a write fails once more here.
            with contextlib.suppress(OSError):
                self._file.close()

    def add(self, anomaly_map: ArrayF32, mask: ArrayBool, frame_bgr: ImageU8) -> int:
        """Keep one image and return its place.

        Args:
            anomaly_map: (H, W) float32, of the size of those before.
            mask: (H, W) bool.
            frame_bgr: (H, W, 3) uint8 BGR.

        Raises:
            InputError: There is no room for it.
        """
        self.map_hw = (anomaly_map.shape[0], anomaly_map.shape[1])
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="zsad-")  # noqa: SIM115
            for part in (anomaly_map, mask, frame_bgr):
                self._file.write(np.ascontiguousarray(part).data)
            self._file.flush()
        except OSError as error:
            raise InputError(
                f"cannot keep the anomaly maps in a temporary file ({error.strerror}): "
                "set TMPDIR to a folder with room for 8 bytes a pixel"
            ) from None
        self._held += 1
        return self._held - 1

    def maps(self, places: Sequence[int]) -> ArrayF32:
        """Return the maps of some images, (N, H, W)."""
        return self._read(places, 0, (), np.float32)

    def masks(self, places: Sequence[int]) -> ArrayBool:
        """Return the masks of some images, (N, H, W)."""
        return self._read(places, 4, (), np.bool_)

    def frame(self, place: int) -> ImageU8:
        """Return the frame of one image, (H, W, 3) uint8 BGR."""
        frame: ImageU8 = self._read([place], 5, (3,), np.uint8)[0]
        return frame

    def _read(
        self, places: Sequence[int], begin: int, channels: tuple[int, ...], kind: type[np.generic]
    ) -> npt.NDArray[Any]:
        """Read what begins so many bytes a pixel after the beginning of each image."""
        assert self._file is not None and self.map_hw is not None, "nothing was added"
        height, width = self.map_hw
        found = np.empty((len(places), height, width, *channels), kind)
        for item, place in zip(found, places, strict=True):
            self._file.seek((8 * place + begin) * height * width)
            self._file.readinto(item.data.cast("B"))  # type: ignore[attr-defined]
        return found
