"""Ctrl-C and SIGTERM as a request to stop in good order."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Any


class StopOnSignal:
    """While entered, the first signal asks to stop; the second ends the program as usual.

    Attributes:
        exit_code: 128 + the signal's number, as a shell reports it; 0 without a signal.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        """Install nothing yet."""
        self.exit_code = 0
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether a signal asked to stop."""
        return self.exit_code != 0

    def __enter__(self) -> StopOnSignal:
        """Take the signals over."""
        for number in self._SIGNALS:
            self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.exit_code = 128 + number
        # Not print: the signal may have come in the middle of another write to the same buffer.
        os.write(2, b"stopping after this frame; again to stop at once\n")
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
