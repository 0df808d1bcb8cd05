"""Programs that cameras are read through, which pip does not install."""

from __future__ import annotations

import shutil
import subprocess

from zsad.doctor.check import Check
from zsad.sources.genicam import PYTHON
from zsad.sources.gstreamer import PROGRAM

_ARAVIS = "import gi; gi.require_version('Aravis', '0.8'); from gi.repository import Aravis"
_GSTREAMER_FIX = (
    "for CSI cameras and pipelines: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base"
    " gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
)
_ARAVIS_FIX = "for GenICam cameras: apt-get install python3-gi gir1.2-aravis-0.8"


def camera_checks() -> list[Check]:
    """Return which camera programs are there."""
    gstreamer, pnm = shutil.which(PROGRAM), _has_pnm()
    if gstreamer and pnm:
        first = Check("GStreamer", "ok", gstreamer)
    else:
        missing = f"{PROGRAM} without its plugin pnm" if gstreamer else f"no {PROGRAM}"
        first = Check("GStreamer", "absent", missing, _GSTREAMER_FIX)
    if _runs([PYTHON, "-I", "-c", _ARAVIS]):
        return [first, Check("Aravis", "ok", f"for {PYTHON}")]
    return [first, Check("Aravis", "absent", f"{PYTHON} does not find it", _ARAVIS_FIX)]


def _has_pnm() -> bool:
    return shutil.which("gst-inspect-1.0") is None or _runs(
        ["gst-inspect-1.0", "--exists", "pnmenc"]
    )


def _runs(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
