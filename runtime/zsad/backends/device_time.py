"""Time on the device apart from the rest, from backends that can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from zsad.types import Array


class DeviceTimes(Protocol):
    """Where one run's time goes, in milliseconds by the device's own clock."""

    @property
    def upload_ms(self) -> float:
        """The inputs' way to the device."""

    @property
    def compute_ms(self) -> float:
        """The graph."""

    @property
    def download_ms(self) -> float:
        """The outputs' way back."""


@dataclass(frozen=True)
class GpuTimes:
    """Where the GPU's time goes, in milliseconds by its own clock."""

    upload_ms: float
    compute_ms: float
    download_ms: float


@runtime_checkable
class DeviceTimed(Protocol):
    """A backend whose device stamps its own work, as CUDA events do."""

    def time(self, feeds: Mapping[str, Array]) -> DeviceTimes:
        """Run the graph once, with stamps between its steps, which may cost time themselves."""
