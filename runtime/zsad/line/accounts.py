"""Where every frame went: captured = judged + dropped(reason) + in flight, for each camera.

The two sides are counted apart. The camera counts what it captured, handed over and dropped; here
a frame holds a ticket from the moment it is taken until something is said of it. So a frame that
is lost, taken twice or answered twice shows, and does not only look odd in a graph.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zsad.line.status import Balance
from zsad.sources.base import Frame
from zsad.sources.health import Counts


@dataclass(frozen=True)
class Ticket:
    """A frame that was taken and not yet answered; `number` is unique in one run."""

    number: int
    camera: str
    taken_s: float


class Accounts:
    """Gives tickets, takes them back, and holds both sides against each other."""

    def __init__(
        self,
        counts: Mapping[str, Callable[[], Counts]],
        now_s: Callable[[], float],
        patience_s: float = 60.0,
    ) -> None:
        """Begin with every account at zero.

        Args:
            counts: Gives the camera's own counts, by camera.
            now_s: The monotonic clock.
            patience_s: A ticket older than this is a frame that got lost.
        """
        self._counts = counts
        self._now_s = now_s
        self._patience_s = patience_s
        # Held while a camera hands a frame over, so that no check falls between its two entries.
        self._lock = threading.Lock()
        self._issued: Counter[str] = Counter()
        self._judged: Counter[str] = Counter()
        self._dropped: dict[str, Counter[str]] = {camera: Counter() for camera in counts}
        self._open: dict[int, Ticket] = {}
        self._strangers: Counter[str] = Counter()

    def take(self, camera: str, take: Callable[[], Frame | None]) -> tuple[Ticket, Frame] | None:
        """Take a frame from a camera and give it a ticket; None if the camera has none."""
        with self._lock:
            frame = take()
            if frame is None:
                return None
            self._issued[camera] += 1
            number = self._issued.total()
            ticket = Ticket(number, camera, self._now_s())
            self._open[number] = ticket
            return ticket, frame

    def judged(self, ticket: Ticket) -> None:
        """A committed verdict speaks of the frame."""
        with self._lock:
            if self._closed(ticket):
                self._judged[ticket.camera] += 1

    def dropped(self, ticket: Ticket, reason: str) -> None:
        """No verdict will speak of the frame, and why."""
        with self._lock:
            if self._closed(ticket):
                self._dropped[ticket.camera][reason] += 1

    def _closed(self, ticket: Ticket) -> bool:
        if self._open.pop(ticket.number, None) is not None:
            return True
        self._strangers[ticket.camera] += 1
        return False

    @property
    def in_flight(self) -> int:
        """Frames of all cameras that hold a ticket."""
        with self._lock:
            return len(self._open)

    def balances(self) -> Mapping[str, Balance]:
        """Return the account of every camera, each of one moment."""
        with self._lock:
            return {camera: self._balance(camera) for camera in self._counts}

    def _balance(self, camera: str) -> Balance:
        counts = self._counts[camera]()
        held = sum(ticket.camera == camera for ticket in self._open.values())
        return Balance(
            captured=counts.captured,
            judged=self._judged[camera],
            dropped=dict(Counter(counts.dropped) + self._dropped[camera]),
            in_flight=counts.waiting + held,
            taken=counts.taken,
            tickets=self._issued[camera],
        )

    def check(self) -> tuple[str, ...]:
        """Return what is wrong with the accounts, one line per fault.

        A frame that is answered twice, or not within the patience, is reported once; the latter is
        dropped as `lost`. Every other fault is reported for as long as it lasts.
        """
        found: list[str] = []
        for camera, balance in self.balances().items():
            found += _faults(camera, balance)
        with self._lock:
            lost = self._write_off()
            strangers, self._strangers = self._strangers, Counter()
        found += [f"{t.camera}: frame {t.number} was taken and never answered" for t in lost]
        found += [f"{camera}: {n} frames were answered twice" for camera, n in strangers.items()]
        return tuple(found)

    def _write_off(self) -> list[Ticket]:
        now_s = self._now_s()
        lost = [t for t in self._open.values() if now_s - t.taken_s > self._patience_s]
        for ticket in lost:
            del self._open[ticket.number]
            self._dropped[ticket.camera]["lost"] += 1
        return lost


def _faults(camera: str, balance: Balance) -> list[str]:
    found = []
    if balance.difference:
        found.append(
            f"{camera}: {balance.captured} captured, but {balance.judged} judged"
            f" + {sum(balance.dropped.values())} dropped + {balance.in_flight} in flight"
        )
    if balance.taken != balance.tickets:
        found.append(f"{camera}: {balance.taken} handed over, but {balance.tickets} received")
    return found
