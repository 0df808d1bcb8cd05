"""What TensorRT measured of kernels, kept for the next build of this device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zsad.engine_cache import make_folder
from zsad.schema import sha256_of, write_atomic


def timing_path(root: Path, compiler: str, version: str, device: str) -> Path:
    """Return where the timings of a compiler on a device are, or would be."""
    return root / f"timing-{sha256_of([compiler, version, device])[:24]}.cache"


def use_timings(config: Any, path: Path) -> None:
    """Give a build the timings of earlier ones; TensorRT drops those it cannot use."""
    stored = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(stored) or config.create_timing_cache(b"")
    config.set_timing_cache(cache, ignore_mismatch=False)


def keep_timings(config: Any, path: Path) -> None:
    """Keep what a build measured.

    Raises:
        InputError: The cache cannot be written.
    """
    make_folder(path.parent)
    write_atomic(path, memoryview(config.get_timing_cache().serialize()))
