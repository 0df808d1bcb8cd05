"""What TensorRT measured of kernels, kept for the next build of this device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zsad.engine_cache import make_folder
from zsad.schema import sha256_of, write_atomic


def timing_path(root: Path, compiler: str, version: str, device: str) -> Path:
    """Return where the timings of a compiler on a device are, or would be."""
    return root / f"timing-{sha256_of([compiler, version, device])[:24]}.cache"


def use_timings(config: Any, path: Path) -> Any:
    """Give a build the timings of earlier ones, where they are of this device.

    Returns:
        The cache, which must live until the engine is built.
    """
    if path.is_file():
        stored = config.create_timing_cache(path.read_bytes())
        if stored is not None and config.set_timing_cache(stored, ignore_mismatch=False):
            return stored
    empty = config.create_timing_cache(b"")
    config.set_timing_cache(empty, ignore_mismatch=False)
    return empty


def keep_timings(cache: Any, path: Path) -> None:
    """Keep what a build measured.

    Raises:
        InputError: The cache cannot be written.
    """
    make_folder(path.parent)
    write_atomic(path, memoryview(cache.serialize()))
