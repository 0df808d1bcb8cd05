"""How a source is doing: the states it goes through, and why it is in the one it is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class SourceState(str, Enum):
    """Where a source stands; every change has a cause, except the first frame's."""

    CONNECTING = "connecting"
    """Being opened, or open without a first frame yet."""
    LIVE = "live"
    """The last good frame is younger than the stall limit."""
    STALLED = "stalled"
    """It is open and silent for longer than the stall limit."""
    BACKING_OFF = "backing off"
    """Closed; the next attempt waits for its turn."""
    ENDED = "ended"
    """A file or a folder that gave its last frame, or a source that was closed."""


class Cause(str, Enum):
    """Why a source is not live."""

    REFUSED = "refused"
    AUTH = "auth"
    TIMEOUT = "timeout"
    NO_DATA = "no-data"
    """It answered, and then sent nothing."""
    CODEC = "codec"
    """Data came that nothing here decodes."""
    NOT_FOUND = "not-found"
    """No such device, file or host."""
    END_OF_FILE = "end-of-file"
    """The stream said that it is over."""
    FAILED = "failed"
    """Anything else; the detail says what."""


@dataclass(frozen=True)
class Counts:
    """The accounts of one source, all of one moment: captured = taken + dropped + waiting.

    Attributes:
        captured: Frames that the source gave.
        taken: Frames that were handed on to be judged.
        dropped: Frames that were not, by reason (`displaced`, `skipped`, `untriggered`,
            `unreadable`, `closed`).
        waiting: Frames that lie in the mailbox or queue.
    """

    captured: int = 0
    taken: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0


@dataclass(frozen=True)
class SourceHealth:
    """How a source is doing at one moment.

    Attributes:
        state: Where it stands.
        cause: Why it is not live; None where it is.
        detail: One line for a person, credentials masked.
        age_s: Seconds since its last good frame; None before the first.
        reconnects: How often it was opened again.
        counts: Its accounts.
        opened_as: Backend, decoder, size and rate and why these, in one line; None before it was
            first opened.
    """

    state: SourceState
    cause: Cause | None
    detail: str
    age_s: float | None
    reconnects: int
    counts: Counts
    opened_as: str | None = None
