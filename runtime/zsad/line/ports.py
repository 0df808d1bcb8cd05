"""What the daemon's core asks of its neighbours; their packages have the real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from zsad.line.record import VerdictRecord, ViewRecord
from zsad.line.status import SinkHealth
from zsad.sources.base import Frame
from zsad.sources.health import SourceHealth


class CameraPort(Protocol):
    """A camera that is read by its own thread."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    @property
    def health(self) -> SourceHealth:
        """How it is doing."""

    def start(self) -> None:
        """Begin to read."""

    def take(self) -> Frame | None:
        """Return the next frame to judge, or None; it never blocks."""

    def close(self) -> None:
        """Stop its thread and let go of the device."""


class CourierPort(Protocol):
    """The thread that brings committed verdicts to one consumer."""

    @property
    def name(self) -> str:
        """The consumer's name in the configuration."""

    @property
    def health(self) -> SinkHealth:
        """How it is doing."""

    def start(self) -> None:
        """Begin to deliver."""

    def stop(self, deadline_s: float) -> None:
        """Deliver what can be within the time, then end."""
