"""A mailbox with one slot: who reads always gets the newest item, and what was lost is counted."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Hands the newest item from one thread to another; put = taken + dropped once closed."""

    def __init__(self) -> None:
        """Make an empty mailbox."""
        self._changed = threading.Condition()
        self._item: T | None = None
        self._full = False
        self._closed = False
        self._put = 0
        self._dropped = 0

    @property
    def counts(self) -> tuple[int, int]:
        """Items put and items dropped, both of the same moment."""
        with self._changed:
            return self._put, self._dropped

    def put(self, item: T) -> bool:
        """Offer an item; one that was never taken is dropped. False once closed, uncounted."""
        with self._changed:
            if self._closed:
                return False
            self._put += 1
            self._dropped += self._full
            self._item, self._full = item, True
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float) -> T | None:
        """Return the newest item, or None if none came within `timeout_s` or it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._full or self._closed, timeout_s)
            if not self._full:
                return None
            item, self._item, self._full = self._item, None, False
            return item

    def close(self) -> None:
        """Accept nothing more; an item that was never taken is dropped."""
        with self._changed:
            self._closed = True
            self._dropped += self._full
            self._item, self._full = None, False
            self._changed.notify_all()
