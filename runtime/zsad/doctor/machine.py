"""The machine itself: GPU driver, Jetson, memory, disk, cameras."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from zsad.doctor.check import Check
from zsad.engine_cache import cache_root
from zsad.host import system_text

_LOW_MEMORY_GIB, _LOW_DISK_GIB = 2.0, 2.0
_GIB = 2**30


def machine_checks(root: Path = Path("/")) -> list[Check]:
    """Return what there is to say about the machine.

    Args:
        root: Where `/proc`, `/dev` and `/etc` are looked for; another folder in tests.
    """
    return [
        _driver(root),
        *_jetson(root),
        _memory(root),
        _disk(),
        *_cameras(root),
    ]


def _driver(root: Path) -> Check:
    text = system_text(root / "proc/driver/nvidia/version")
    if match := re.search(r"Kernel Module\D*([\d.]+)", text):
        return Check("NVIDIA driver", "ok", f"{match[1]}{_gpu_names()}")
    if system_text(root / "etc/nv_tegra_release"):
        return Check("NVIDIA driver", "ok", "part of JetPack")
    return Check("NVIDIA driver", "absent", "not found", "for a GPU: install NVIDIA's driver")


def _gpu_names() -> str:
    command = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "".join(f"; {line.strip()}" for line in done.stdout.splitlines())


def _jetson(root: Path) -> list[Check]:
    release = system_text(root / "etc/nv_tegra_release")
    if not release:
        return []
    model = system_text(root / "proc/device-tree/model").rstrip("\0\n ") or "Jetson"
    checks = [Check("Jetson", "ok", f"{model}, {release.splitlines()[0].lstrip('# ')}")]
    mode = re.search(r"pmode:(\d+)", system_text(root / "var/lib/nvpmodel/status"))
    found = f"mode {int(mode[1])}" if mode else "unknown"
    fix = "sudo nvpmodel -q tells its name; -m sets it; sudo jetson_clocks pins the clocks"
    checks.append(Check("Jetson power mode", "ok" if mode else "absent", found, fix))
    return checks


def _memory(root: Path) -> Check:
    sizes = dict(
        re.findall(r"^(\w+):\s+(\d+) kB", system_text(root / "proc/meminfo"), re.MULTILINE)
    )
    if "MemAvailable" not in sizes:
        return Check("memory", "absent", "unknown", "this system has no /proc/meminfo")
    free, total = (int(sizes[key]) * 1024 / _GIB for key in ("MemAvailable", "MemTotal"))
    detail = f"{free:.1f} GiB available of {total:.1f}"
    if free < _LOW_MEMORY_GIB:
        return Check("memory", "problem", detail, "end other programs: a ViT-L needs about 2 GiB")
    return Check("memory", "ok", detail)


def _disk() -> Check:
    cache = cache_root()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free / _GIB
    detail = f"{free:.1f} GiB free for engines in {cache}"
    if free < _LOW_DISK_GIB:
        return Check("disk", "problem", detail, "free some, or set ZSAD_CACHE to another disk")
    if not os.access(existing, os.W_OK):
        return Check("disk", "problem", f"{existing} is read-only", "set ZSAD_CACHE elsewhere")
    return Check("disk", "ok", detail)


def _cameras(root: Path) -> list[Check]:
    # Numbers change when a camera is plugged in again; these names do not.
    folder = root / "dev/v4l/by-id"
    names = sorted(folder.iterdir()) if folder.is_dir() else []
    if not names:
        return [Check("cameras", "absent", "none in /dev/v4l/by-id", "plug one in, or use RTSP")]
    return [_camera(path) for path in names]


def _camera(path: Path) -> Check:
    if os.access(path, os.R_OK | os.W_OK):
        return Check("camera", "ok", str(path))
    fix = "sudo usermod -aG video $USER, then log in again"
    return Check("camera", "problem", f"{path} may not be read by this user", fix)
