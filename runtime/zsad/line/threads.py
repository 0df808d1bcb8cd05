"""Threads that cannot die without a word."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable

from zsad.credentials import mask_credentials
from zsad.errors import ZsadError

LOG = logging.getLogger(__name__)


class Worker(threading.Thread):
    """A named thread; what ends it other than its own return is logged and reported.

    Attributes:
        error: What ended it; None while it runs and after a return.
    """

    def __init__(
        self, name: str, work: Callable[[], object], on_death: Callable[[str, BaseException], None]
    ) -> None:
        """Prepare the thread.

        Args:
            name: Shown in logs and by the operating system's tools.
            work: What it does.
            on_death: Told its name and the exception, from the dying thread.
        """
        # A native call that hangs cannot be ended; it must not keep the process from ending.
        super().__init__(name=name, daemon=True)
        self.error: BaseException | None = None
        self._work = work
        self._on_death = on_death

    def run(self) -> None:
        """Do the work."""
        try:
            self._work()
        except ZsadError as error:
            self.error = error
            LOG.error("thread %s ended: %s", self.name, error)
            self._on_death(self.name, error)
        except BaseException as error:
            self.error = error
            LOG.error("thread %s died: %s", self.name, mask_credentials(traceback.format_exc()))
            self._on_death(self.name, error)

    def end(self, timeout_s: float) -> bool:
        """Wait for its end; False, with a line in the log, where it does not come in time."""
        if self.ident is None:
            return True
        self.join(max(0.0, timeout_s))
        if self.is_alive():
            LOG.error("thread %s did not end within %.1f s: left behind", self.name, timeout_s)
        return not self.is_alive()
