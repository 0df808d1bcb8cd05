"""What a reconnecting camera needs of each kind of source: one connection, opened and read."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from zsad.credentials import mask_credentials, masked_line
from zsad.errors import ZsadError
from zsad.sources.files import FileVersion
from zsad.sources.health import Cause
from zsad.types import ImageU8


class StreamError(ZsadError):
    """A connection that could not be made, or that is over; the source may come back.

    Attributes:
        cause: Why, for a program.
        detail: Why, for a person: one line, credentials masked.
    """

    def __init__(self, cause: Cause, detail: BaseException | str) -> None:
        """Mask the detail."""
        self.cause = cause
        self.detail = masked_line(detail)
        super().__init__(f"{cause.value}: {self.detail}")


@dataclass(frozen=True)
class Reading:
    """What one read gave.

    Attributes:
        image_bgr: (H, W, 3) uint8, BGR; None where what came could not be decoded.
        captured_s: When it had arrived here, in seconds of the monotonic clock.
        decoded_s: When its pixels were there, likewise.
        error: Why there are no pixels.
        name: The file's name; None for a frame of a stream.
        version: What the file was when it was read, of a watched folder.
    """

    image_bgr: ImageU8 | None
    captured_s: float
    decoded_s: float
    error: str | None = None
    name: str | None = None
    version: FileVersion | None = None


@dataclass(frozen=True)
class Backing:
    """What reads a source, and why that.

    Attributes:
        backend: The library or program, with its version where it has one.
        decoder: What turns the bytes into pixels.
        reason: Why these, and what else is worth knowing.
    """

    backend: str
    decoder: str
    reason: str

    def line(self, size_wh: tuple[int, int] | None, rate_hz: float | None) -> str:
        """Return backend, decoder, size, rate and why, in one line, credentials masked."""
        size = "size not known yet" if size_wh is None else f"{size_wh[0]}x{size_wh[1]}"
        rate = "rate not said" if rate_hz is None else f"{rate_hz:g} Hz"
        return mask_credentials(f"{self.backend}, {self.decoder}, {size}, {rate}: {self.reason}")


class Stream(Protocol):
    """One open connection. It is read by one thread alone.

    Attributes:
        backing: What reads it, and why that.
        rate_hz: Frames per second that it claims to give; None where it claims nothing.
        paced: Whether it sends frames by itself, so that silence means a fault.
    """

    backing: Backing
    rate_hz: float | None
    paced: bool

    def read(self, timeout_s: float) -> Reading | None:
        """Return the next frame, or None if none came within about `timeout_s`.

        Raises:
            StreamError: The connection is over.
        """

    def interrupt(self) -> None:
        """Make a read that blocks in another thread return soon, where that is possible."""

    def close(self) -> None:
        """Let go of everything; closing twice does no harm."""


@runtime_checkable
class Triggerable(Protocol):
    """A stream whose camera waits for a trigger."""

    def fire(self) -> None:
        """Have the camera take one frame; called from any thread."""


class Opener(Protocol):
    """Opens a source again and again; keeps what must outlive a connection."""

    def open(self, closing: threading.Event) -> Stream:
        """Make a connection.

        Args:
            closing: Set once nobody wants the connection any more; what can be given up then, is.

        Raises:
            StreamError: It cannot be made now.
        """
