"""What every consumer of verdicts offers, and what it says when it cannot take one."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from zsad.credentials import mask_credentials
from zsad.errors import ZsadError
from zsad.line.record import VerdictRecord
from zsad.line.status import LineStatus

StatusOf = Callable[[], LineStatus]
"""Returns the line's state at the moment; never blocks."""


class SinkCause(str, Enum):
    """Why a sink takes nothing."""

    REFUSED = "refused"
    """The other side answers, and says no to the connection or the request."""
    AUTH = "auth"
    TLS = "tls"
    TIMEOUT = "timeout"
    NOT_FOUND = "not-found"
    """No such host, or no such file or folder."""
    LOST = "lost"
    """The connection broke."""
    FULL = "full"
    """No space left."""
    UNACKNOWLEDGED = "unacknowledged"
    """It was shown, and nobody has taken it."""
    FAILED = "failed"
    """Anything else; the detail says what."""


class SinkError(ZsadError):
    """A sink that takes nothing at the moment; what it was given will be given again.

    Attributes:
        cause: Why.
        detail: One line for a person, credentials masked.
        retry_s: When to try again; None leaves that to the courier's back-off.
    """

    def __init__(self, cause: SinkCause, detail: str, retry_s: float | None = None) -> None:
        """Say why, in a word and in a line."""
        self.cause = cause
        self.detail = mask_credentials(" ".join(detail.split()))
        self.retry_s = retry_s
        super().__init__(f"{cause.value}: {self.detail}")


class RefusedError(SinkError):
    """A sink that works and will not have one particular record.

    Attributes:
        position: Index of that record among those given; all before it were acknowledged.
    """

    def __init__(self, position: int, detail: str) -> None:
        """Name the record and why it was refused."""
        super().__init__(SinkCause.REFUSED, detail)
        self.position = position


class Sink(Protocol):
    """A consumer of verdicts. One thread, its courier's, calls it.

    Attributes:
        name: Its name in the configuration, and its place in the outbox.
    """

    name: str

    def open(self) -> None:
        """Be ready to deliver: connect if need be, and tell of being alive where that is due.

        Called before every delivery and several times a second while there is none, so it is cheap
        when all is well. It is called again after an error.

        Raises:
            SinkError: It cannot be made ready.
        """

    def deliver(self, records: Sequence[VerdictRecord]) -> int:
        """Hand over records, oldest first, and return how many of the first were acknowledged.

        Returns in bounded time, so that its courier can stop.

        Raises:
            RefusedError: One of them will never be taken.
            SinkError: None was acknowledged.
        """

    def close(self) -> None:
        """Say good-bye and let go; closing twice does no harm."""


class OutboxLike(Protocol):
    """The ledger as a courier sees it."""

    def register(self, sink: str) -> None:
        """Give a sink its place; one that it has already stays as it is."""

    def pending(self, sink: str, limit: int) -> list[VerdictRecord]:
        """Return up to `limit` records that the sink has not acknowledged, oldest first."""

    def acknowledge(self, sink: str, seq: int) -> None:
        """Keep that the sink has everything up to `seq`."""

    def backlog(self, sink: str) -> int:
        """Return how many records the sink has not acknowledged."""

    def wait_for(self, seq: int, timeout_s: float) -> bool:
        """Wait until `seq` is committed, and return whether it is."""


@dataclass(frozen=True)
class SinkContext:
    """What the line gives each of its sinks.

    Attributes:
        line: The line's name.
        status: The line's state at the moment.
        first_seq: Where this run's records begin; those before it are an earlier run's.
        trigger: Starts a part with the given id and returns whether a camera took it; None where
            nothing can be triggered. Never blocks.
        shares_trigger: Whether several sinks of the line have it.
    """

    line: str
    status: StatusOf
    first_seq: int = 1
    trigger: Callable[[str], bool] | None = None
    shares_trigger: bool = False


def sink_error(error: OSError, what: str) -> SinkError:
    """Return the `SinkError` that says what an `OSError` means.

    Args:
        error: What was raised.
        what: The thing that was tried, as in "broker plant:8883".
    """
    said = error.strerror or str(error) or type(error).__name__
    return SinkError(_cause(error), f"{what}: {said}")


def committed_head(outbox: OutboxLike) -> int:
    """Return the newest committed number, 0 for an empty outbox, by asking for few."""
    above = 1
    while outbox.wait_for(above, 0.0):
        above *= 2
    below = above // 2
    while above - below > 1:
        middle = (above + below) // 2
        if outbox.wait_for(middle, 0.0):
            below = middle
        else:
            above = middle
    return below


def _cause(error: OSError) -> SinkCause:
    if isinstance(error, TimeoutError):
        return SinkCause.TIMEOUT
    if isinstance(error, ssl.SSLError):
        return SinkCause.TLS
    if isinstance(error, (socket.gaierror, FileNotFoundError)):
        return SinkCause.NOT_FOUND
    if isinstance(error, ConnectionRefusedError):
        return SinkCause.REFUSED
    if isinstance(error, ConnectionError):
        return SinkCause.LOST
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SinkCause.FULL
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return SinkCause.NOT_FOUND
    return SinkCause.FAILED
