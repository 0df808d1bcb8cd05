"""A PLC's triggers: which part it waits for, and which verdicts come too late to be acted on."""

from __future__ import annotations

from dataclasses import dataclass

from zsad.line.record import VerdictRecord

_REMEMBERED = 64  # lost triggers: a PLC has one at a time, and a line is not that far behind


@dataclass(frozen=True)
class _Triggered:
    """A part that was triggered at `at_s`, when `after_seq` was the newest verdict."""

    part: str
    at_s: float
    after_seq: int

    def is_answered_by(self, record: VerdictRecord) -> bool:
        """Whether a record is the verdict about this part.

        Its name alone does not do: a free-running camera gives its frames numbers too.
        """
        return record.triggered and record.part == self.part and record.seq > self.after_seq


class PartNames:
    """How the parts that one PLC triggers are called, and which of all parts are its own."""

    def __init__(self, sink: str = "plc", shared: bool = False) -> None:
        """Name parts for a sink.

        Args:
            sink: The sink's name.
            shared: Whether other sinks of the line trigger parts too. Two PLCs may count alike, so
                each one's numbers are then told apart by its sink's name.
        """
        self._sink = sink
        self._prefix = f"{sink}:" if shared else ""
        self._count = 0

    def name(self, given: int) -> str:
        """Return a part's id: of the number that the PLC gave, or one of our own for 0."""
        if given:
            return f"{self._prefix}{given}"
        self._count += 1
        return f"{self._sink}-{self._count}"

    def number(self, record: VerdictRecord) -> int:
        """Return the number that this PLC triggered a part with; 0 for a part with any other id.

        A free-running camera's frames have numbers too, which no PLC gave.
        """
        if not (record.triggered and record.part.startswith(self._prefix)):
            return 0
        own = record.part[len(self._prefix) :]
        return int(own) if own.isdecimal() and len(own) <= 10 and int(own) < 1 << 32 else 0


class Triggers:
    """One trigger at a time, and those that were given up; its owner keeps threads apart."""

    def __init__(self, verdict_s: float) -> None:
        """Give a trigger up after `verdict_s` seconds without a verdict."""
        self._verdict_s = verdict_s
        self._awaited: _Triggered | None = None
        self._given_up: dict[str, _Triggered] = {}
        self.is_lost = False
        """Whether the last trigger was given up."""

    @property
    def is_busy(self) -> bool:
        """Whether a part's verdict is still to come."""
        return self._awaited is not None

    def begin(self, part: str, now_s: float, after_seq: int) -> bool:
        """Wait for a part; False while a verdict about an earlier one of that id may still come.

        Args:
            part: Its id.
            now_s: The moment.
            after_seq: Its verdict has a higher number than this.
        """
        earlier = self._given_up.get(part)
        if earlier is not None and now_s - earlier.at_s <= 2 * self._verdict_s:
            return False
        self._given_up.pop(part, None)
        self._awaited, self.is_lost = _Triggered(part, now_s, after_seq), False
        return True

    def cancel(self) -> None:
        """Forget the part: nothing took its trigger."""
        self._awaited = None

    def awaits(self, record: VerdictRecord) -> bool:
        """Whether a verdict is the one that is waited for."""
        return self._awaited is not None and self._awaited.is_answered_by(record)

    def settle(self, record: VerdictRecord) -> bool:
        """Take note of a verdict that the PLC is about to be shown.

        Returns:
            Whether its trigger was given up before, so that the PLC may be on another part already.
        """
        if self.awaits(record):
            self._awaited = None
            return False
        earlier = self._given_up.get(record.part)
        if earlier is None or not earlier.is_answered_by(record):
            return False
        del self._given_up[record.part]
        return True

    def look(self, now_s: float, trusted: bool) -> None:
        """Give the part up where it has waited for too long or the line cannot be believed."""
        awaited = self._awaited
        if awaited is None or (trusted and now_s - awaited.at_s <= self._verdict_s):
            return
        self._awaited, self.is_lost = None, True
        self._given_up[awaited.part] = awaited
        if len(self._given_up) > _REMEMBERED:
            del self._given_up[next(iter(self._given_up))]
