"""One line of progress on standard error."""

from __future__ import annotations

from collections import Counter

from zsad.cli.status_line import StatusLine
from zsad.results import ResultRow


class Progress(StatusLine):
    """Counts rows and tells how many there are of each verdict."""

    def __init__(self, total: int | None) -> None:
        """Expect `total` rows, None where nobody knows."""
        super().__init__()
        self._total = total
        self._verdicts: Counter[str] = Counter()

    def add(self, row: ResultRow) -> None:
        """Count a row, and show the line when it is due."""
        self._verdicts[row.verdict] += 1
        self.offer(self._text)

    def _text(self, seconds: float) -> str:
        done = sum(self._verdicts.values())
        of = f"/{self._total}" if self._total is not None else ""
        counts = "  ".join(f"{name} {count}" for name, count in sorted(self._verdicts.items()))
        return f"{done}{of} frames  {done / seconds:.1f}/s  {counts}"
