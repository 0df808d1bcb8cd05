"""What a figure was measured on, without anything that names the machine or its owner."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jetson
from zsad.host import processor, system_text, usable_cores
from zsad.schema import to_json

PACKAGES = (
    "zsad",
    "numpy",
    "pillow",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "torch",
    "opencv-python",
)


def describe() -> dict[str, Any]:
    """Return the machine as plain JSON values."""
    return {
        "cpu": processor() or "unknown",
        "cores": usable_cores(),
        "memory_gb": _memory_gb(),
        "gpu": _gpu(),
        "board": system_text(Path("/proc/device-tree/model")).strip("\0\n") or None,
        "jetson": to_json(jetson.board_state()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def own_peak_bytes() -> int:
    """Return the largest resident memory this process has had so far."""
    # Not ru_maxrss: on Linux it starts at what the parent had when it spawned this process.
    found = peak_bytes(os.getpid())
    # It is bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if found is None else found


def peak_bytes(pid: int) -> int | None:
    """Return the largest resident memory a process has had so far, where Linux tells it."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        return None
    return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _gpu() -> str | None:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
