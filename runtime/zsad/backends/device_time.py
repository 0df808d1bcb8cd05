"""Time on the device apart from the rest, from backends that can tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

DEVICE_STAGES = ("to_device", "compute", "from_device")


@runtime_checkable
class DeviceTimed(Protocol):
    """A backend whose device stamps its own work, as CUDA events do.

    The stages are part of what `infer` takes as a whole and need not add up to it: copies may
    overlap compute, and the host has work of its own.
    """

    @property
    def device_ms(self) -> Mapping[str, float]:
        """Milliseconds of the last `infer`, keyed by `DEVICE_STAGES`; empty before the first."""
