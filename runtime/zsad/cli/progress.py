"""One line of progress on standard error."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType

from zsad.results import ResultRow

_TERMINAL_EVERY_S, _LOG_EVERY_S = 0.2, 10.0


class Progress:
    """Counts rows; rewrites its line on a terminal, and adds one now and then to a log."""

    def __init__(self, total: int | None) -> None:
        """Expect `total` rows, None where nobody knows."""
        self._total = total
        self._verdicts: Counter[str] = Counter()
        self._terminal = sys.stderr.isatty()
        self._started = self._shown = time.monotonic()

    def add(self, row: ResultRow) -> None:
        """Count a row, and show the line when it is due."""
        self._verdicts[row.verdict] += 1
        every = _TERMINAL_EVERY_S if self._terminal else _LOG_EVERY_S
        now = time.monotonic()
        if now - self._shown >= every:
            self._shown = now
            self._show(now - self._started)

    def _show(self, seconds: float) -> None:
        done = sum(self._verdicts.values())
        of = f"/{self._total}" if self._total is not None else ""
        counts = "  ".join(f"{name} {count}" for name, count in sorted(self._verdicts.items()))
        line = f"{done}{of} frames  {done / seconds:.1f}/s  {counts}"
        print(f"\r{line}\x1b[K" if self._terminal else line, end="", file=sys.stderr, flush=True)
        if not self._terminal:
            print(file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
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
