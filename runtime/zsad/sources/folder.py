"""The images of a folder, sorted by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from zsad.errors import InputError
from zsad.images import Scale16, list_images, read_image
from zsad.sources.base import Frame, StopRequest
from zsad.sources.names import printable


class FolderSource:
    """Every image file of a folder, once; one that cannot be read becomes a frame with an error."""

    dropped = 0

    def __init__(self, directory: str | Path, scale_16bit: Scale16 | None = None) -> None:
        """List the images of `directory`; see `read_image` for `scale_16bit`.

        Raises:
            InputError: The folder is missing or holds no image.
        """
        self.name = printable(str(directory))
        self.captured = 0
        self._paths = list_images(directory)
        self._scale_16bit = scale_16bit
        self.total: int | None = len(self._paths)

    def frames(self, stop: StopRequest) -> Iterator[Frame]:
        """Yield the images in order until the last one, or until `stop()` is true."""
        for path in self._paths:
            if stop():
                return
            number, self.captured = self.captured, self.captured + 1
            captured_s = time.monotonic()
            image, error = None, None
            try:
                image = read_image(path, self._scale_16bit)
            except InputError as reason:
                error = printable(str(reason))
            decoded_s = time.monotonic()
            name = printable(path.name)
            yield Frame(name, image, error, captured_s, decoded_s=decoded_s, number=number)

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def __enter__(self) -> FolderSource:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing: no file stays open."""
