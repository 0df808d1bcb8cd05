"""What this machine can run, and what to do about what it cannot."""

from zsad.doctor.cameras import camera_checks
from zsad.doctor.check import Check, Status
from zsad.doctor.engines import engine_checks
from zsad.doctor.machine import machine_checks
from zsad.doctor.software import software_checks

__all__ = [
    "Check",
    "Status",
    "camera_checks",
    "engine_checks",
    "machine_checks",
    "software_checks",
    "survey",
]


def survey() -> list[Check]:
    """Return every check of this machine; it changes nothing and needs no privilege."""
    return [*software_checks(), *camera_checks(), *engine_checks(), *machine_checks()]
