"""Give freed memory back to the system between the steps of an export."""

from __future__ import annotations

import ctypes
import gc


def release_memory() -> None:
    """Collect garbage and let glibc return free pages, which it otherwise keeps for itself.

    An exporter and a session each free gigabytes in small pieces; kept, they would add up to more
    than a ViT-L needs at its worst moment.
    """
    gc.collect()  # an exporter's graph holds its weights in reference cycles
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
    if trim is not None:
        trim(0)
