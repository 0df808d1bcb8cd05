"""A build's progress, from TensorRT's own monitor where it has one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Progress = Callable[[str, int, int], None]
"""Is told the phase, the steps done and the steps in all."""


class Interruption:
    """Whether Ctrl-C came while TensorRT was building, which it must not see as an exception."""

    def __init__(self) -> None:
        """Begin without one."""
        self.came = False


def progress_monitor(trt: Any, progress: Progress, interruption: Interruption) -> Any:
    """Return a monitor for a build, None where this release has none.

    TensorRT calls it from several threads. The innermost phase that moved last is shown; Ctrl-C
    ends the build at its next step.
    """
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # it comes with the package
        def __init__(self) -> None:
            super().__init__()
            self._lock = threading.Lock()
            self._steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            del parent
            self._steps[phase] = steps
            self._tell(phase, 0)

        def step_complete(self, phase: str, step: int) -> bool:
            self._tell(phase, step + 1)
            return not interruption.came

        def phase_finish(self, phase: str) -> None:
            steps = self._steps.pop(phase, None)
            if steps is not None:
                self._tell(phase, steps, steps)

        def _tell(self, phase: str, done: int, steps: int | None = None) -> None:
            total = self._steps.get(phase, done) if steps is None else steps
            try:
                with self._lock:
                    progress(phase, min(done, total), total)
            except KeyboardInterrupt:
                interruption.came = True

    return Monitor()
