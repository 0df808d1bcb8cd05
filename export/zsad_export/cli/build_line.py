"""One line on standard error that tells how far an engine's build is."""

from __future__ import annotations

from zsad.cli.status_line import StatusLine


class BuildLine(StatusLine):
    """Tells the phase of a build."""

    def __init__(self, title: str) -> None:
        """Name what is built."""
        super().__init__()
        self._title = title

    def show(self, phase: str, done: int, total: int) -> None:
        """Show a phase of the build when the line is due."""
        self.offer(lambda seconds: f"{self._title}: {phase} {done}/{total}, {seconds:.0f} s")
