"""Where this device keeps what it made for itself: engines, compiled graphs, measurements."""

from __future__ import annotations

import os
from pathlib import Path


def device_cache() -> Path:
    """Return `$ZSAD_CACHE`, else `zsad` below the user's cache folder."""
    if configured := os.environ.get("ZSAD_CACHE"):
        return Path(configured)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "zsad"
