"""One line on standard error that tells how far something is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from zsad.closeable import Closeable

_TERMINAL_EVERY_S, _LOG_EVERY_S = 0.2, 10.0


class StatusLine(Closeable):
    """Rewrites its line on a terminal, and adds one now and then to a log."""

    def __init__(self) -> None:
        """Start the clock; nothing is shown yet."""
        self._terminal = sys.stderr.isatty()
        self._every_s = _TERMINAL_EVERY_S if self._terminal else _LOG_EVERY_S
        self._started = self._shown = time.monotonic()

    def offer(self, text: Callable[[float], str]) -> None:
        """Show a line when one is due.

        Args:
            text: Makes the line of the seconds since the start; only called when it is shown.
        """
        now = time.monotonic()
        if now - self._shown < self._every_s:
            return
        self._shown = now
        line = text(now - self._started)
        shown = f"\r{line}\x1b[K" if self._terminal else f"{line}\n"
        print(shown, end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Wipe the line from a terminal."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
