"""One line on standard error that tells how far an engine's build is."""

from __future__ import annotations

import sys
import time
from types import TracebackType

_TERMINAL_EVERY_S, _LOG_EVERY_S = 0.2, 10.0


class BuildLine:
    """Rewrites its line on a terminal, and adds one now and then to a log."""

    def __init__(self, title: str) -> None:
        """Name what is built."""
        self._title = title
        self._terminal = sys.stderr.isatty()
        self._started = self._shown = time.monotonic()

    def show(self, phase: str, done: int, total: int) -> None:
        """Show a phase of the build when the line is due."""
        now = time.monotonic()
        if now - self._shown < (_TERMINAL_EVERY_S if self._terminal else _LOG_EVERY_S):
            return
        self._shown = now
        seconds = now - self._started
        line = f"{self._title}: {phase} {done}/{total}, {seconds:.0f} s"
        end = "" if self._terminal else "\n"
        text = f"\r{line}\x1b[K" if self._terminal else line
        print(text, end=end, file=sys.stderr, flush=True)

    def __enter__(self) -> BuildLine:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wipe the line from a terminal."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
