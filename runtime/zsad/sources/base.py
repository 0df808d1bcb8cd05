"""What every source offers, and how a source is chosen by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from zsad.credentials import mask_credentials
from zsad.errors import InputError
from zsad.sources.address import infer_kind
from zsad.sources.files import FileVersion
from zsad.types import ImageU8

StopRequest = Callable[[], bool]
"""Asked between frames; True ends the source in good order."""


@dataclass(frozen=True)
class Frame:
    """One captured frame, or the reason why there is none.

    Attributes:
        name: File name, or the frame's number in its stream, from 0.
        image_bgr: (H, W, 3) uint8, BGR; None where the image could not be read.
        error: Why it could not be read.
        captured_s: When it had arrived, in seconds of the monotonic clock.
        trigger: Id of the trigger that it answers.
        decoded_s: When its pixels were there, likewise; None where nobody measured it.
        number: How many frames the source had captured before it, over all connections.
        version: What its file was when it was read, of a watched folder.
    """

    name: str
    image_bgr: ImageU8 | None
    error: str | None
    captured_s: float
    trigger: str | None = None
    decoded_s: float | None = None
    number: int = 0
    version: FileVersion | None = None


class Source(Protocol):
    """Frames, counted so that captured = yielded + dropped once the source is closed.

    Attributes:
        name: The source as the user named it, credentials masked.
        total: Frames there will be, None where nobody knows.
    """

    name: str
    total: int | None

    @property
    def captured(self) -> int:
        """Frames read so far."""

    @property
    def dropped(self) -> int:
        """Frames that a newer one displaced before anyone took them, or that were unreadable."""

    def frames(self, stop: StopRequest) -> Iterator[Frame]:
        """Yield frames until the source ends or `stop()` is true.

        Raises:
            InputError: The source cannot be opened, or gives nothing any more.
        """

    def close(self) -> None:
        """Let go of the camera or file; closing twice does no harm."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_source(spec: str, stall_s: float | None = None) -> Source:
    """Return the source that a `--source` names.

    Args:
        spec: A camera's number or `/dev/...` path, a URL such as `rtsp://...`, `genicam:ID`,
            `csi:NUMBER`, a GStreamer pipeline, or a video file.
        stall_s: Seconds without a frame after which a live source is opened again; None scales
            it with the source's rate.

    Raises:
        InputError: It is none of these.
    """
    from zsad.sources.live import LiveSource
    from zsad.sources.video import VideoSource

    if infer_kind(spec) not in ("video", "folder"):
        return LiveSource(spec, stall_s=stall_s)
    path = Path(spec)
    if path.is_dir():
        raise InputError(f"source {spec} is a folder: use --images {spec}")
    if not path.is_file():
        raise InputError(
            f"source {mask_credentials(spec)} is neither a file nor a camera's number nor a URL:"
            " check the name"
        )
    return VideoSource(path)
