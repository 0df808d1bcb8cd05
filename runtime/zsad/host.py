"""The machine that this runs on, as far as timings and remembered choices depend on it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name: as Linux gives it in `cpuinfo`, else as the system does."""
    named = re.search(r"^model name\s*:\s*(.+)$", system_text(cpuinfo), re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def saturates_int8(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether INT8 products may saturate in 16 bits: on x86 without VNNI, as far as Linux tells."""
    flags = re.search(r"^flags\s*:\s*(.+)$", system_text(cpuinfo), re.MULTILINE)  # of x86 alone
    return flags is not None and not {"avx512_vnni", "avx_vnni"} & set(flags[1].split())


def system_text(path: Path) -> str:
    """Return what a file of the system says; nothing where there is no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def usable_cores() -> int:
    """Return the logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
