"""Which triggers have no verdict yet: an id must not mean two parts at a time."""

from __future__ import annotations

import threading


class OpenTriggers:
    """The triggers whose parts are open; any thread may ask and tell."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._begun_s: dict[str, float] = {}

    def begin(self, trigger: str, at_s: float) -> bool:
        """Open a part at a moment; False where one of this id is open still."""
        with self._lock:
            if trigger in self._begun_s:
                return False
            self._begun_s[trigger] = at_s
            return True

    def end(self, trigger: str, at_s: float) -> None:
        """Close the part that was begun at `at_s`; a later one of the same id stays open."""
        with self._lock:
            if self._begun_s.get(trigger) == at_s:
                del self._begun_s[trigger]
