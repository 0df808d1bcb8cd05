"""The conversation with a PLC: what it is shown, and what it may write.

A result stays until the PLC acknowledges it by its id; the next one waits. It stops being valid,
for good, when it grows old or when the line cannot be believed any more: a PLC that looks late, or
at a bad moment, sees that there was a result and never acts on a stale one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zsad.line.record import VerdictRecord
from zsad.sinks.config import ModbusConfig
from zsad.sinks.pulse import Pulse, Reading
from zsad.sinks.registers import (
    ACK_EXPIRED,
    ACK_ID,
    HOLDING_SIZE,
    SIZE,
    STATES,
    TRIGGER_ID,
    Flag,
    Register,
    result_id,
    words,
    write_result,
)

_log = logging.getLogger(__name__)

_SAMPLE_S = 0.1


@dataclass(frozen=True)
class _Triggered:
    """A part that was triggered at `at_s`, when `after_seq` was the newest verdict."""

    part: str
    at_s: float
    after_seq: int

    def is_answered_by(self, record: VerdictRecord) -> bool:
        """Whether a record is the verdict about this part."""
        return record.triggered and record.part == self.part and record.seq > self.after_seq


class Handshake:
    """What is on show, shared by the courier's thread and the server's."""

    def __init__(
        self,
        config: ModbusConfig,
        pulse: Pulse,
        first_seq: int,
        trigger: Callable[[str], bool] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing on show.

        Args:
            config: The limits.
            pulse: Whether the line may be believed.
            first_seq: Records before it are an earlier run's, and old however new they look.
            trigger: Starts a part, see `SinkContext`.
            clock: Seconds; replaced in tests.
        """
        self._config = config
        self._pulse = pulse
        self._trigger = trigger
        self._clock = clock
        self._lock = threading.Condition()
        self._shown: VerdictRecord | None = None
        self._shown_s = 0.0
        self._expired = False
        self._acknowledged_seq = 0
        self._old_seq = first_seq - 1  # records up to it are too old to act on
        self._commits: deque[tuple[float, int]] = deque()  # (when seen, newest number by then)
        self._holding = [0] * HOLDING_SIZE
        self._trigger_was_on = False
        self._awaited: _Triggered | None = None
        self._trigger_lost = False
        self._triggers = 0

    def show(self, record: VerdictRecord) -> bool:
        """Put a record on show unless another still is; return whether it is acknowledged already.

        A dry run's verdict moves nothing, so no PLC is shown it.
        """
        with self._lock:
            if record.dry_run or record.seq <= self._acknowledged_seq:
                return True
            self._answered(record)
            if self._shown is None:
                self._shown, self._shown_s, self._expired = record, self._clock(), False
            self._refresh()
            if self._expired and self._written_id() == ACK_EXPIRED:
                self._free_place()
            return self._acknowledged_seq >= record.seq

    def wait_acknowledged(self, seq: int, timeout_s: float) -> bool:
        """Wait until the PLC has acknowledged `seq`, and return whether it has."""
        with self._lock:
            return self._lock.wait_for(lambda: self._acknowledged_seq >= seq, timeout_s)

    def notice(self, records: Sequence[VerdictRecord]) -> None:
        """Take note of verdicts that wait for their turn: they end the wait for a trigger."""
        with self._lock:
            for record in records:
                self._answered(record)
            self._refresh()

    def image(self) -> list[int]:
        """Return the input registers as they are at this moment."""
        with self._lock:
            reading = self._refresh()
            return self._draw(reading)

    @property
    def holding(self) -> list[int]:
        """The registers that the PLC wrote."""
        with self._lock:
            return list(self._holding)

    def write_holding(self, address: int, values: Sequence[int]) -> None:
        """Take what the PLC writes from `address` on; the id of what is on show frees its place."""
        with self._lock:
            self._holding[address : address + len(values)] = values
            self._refresh()
            # Only an id that is written now counts: one that stands there was meant for another.
            if address < TRIGGER_ID and self._shown is not None:
                written = self._written_id()
                own = written == result_id(self._shown)
                if own or (self._expired and written == ACK_EXPIRED):
                    self._free_place()

    @property
    def has_trigger(self) -> bool:
        """Whether a PLC can trigger anything."""
        return self._trigger is not None

    def write_trigger(self, on: bool) -> bool:
        """Take what the PLC writes to the trigger; return False where it cannot be obeyed."""
        with self._lock:
            rises, reading = on and not self._trigger_was_on, self._refresh()
            if rises and not self._ready(reading):
                return False
            self._trigger_was_on = on
            if not rises:
                return True
            last = None if reading.status is None else reading.status.last
            part = self._triggered_part()
            self._awaited = _Triggered(part, self._clock(), 0 if last is None else last.seq)
            self._trigger_lost = False
        taken = self._was_taken(part)
        if not taken:
            with self._lock:
                self._awaited, self._trigger_was_on = None, False
        return taken

    def _was_taken(self, part: str) -> bool:
        try:
            return self._trigger is not None and self._trigger(part)
        except Exception:  # a camera's fault must end as a refusal, not as a busy line
            _log.exception("the trigger of part %s failed", part)
            return False

    def _triggered_part(self) -> str:
        """Return the id that the PLC gave, or one of our own where it gave none."""
        self._triggers += 1
        given = (self._holding[TRIGGER_ID] << 16) | self._holding[TRIGGER_ID + 1]
        return str(given) if given else f"plc-{self._triggers}"

    def _refresh(self) -> Reading:
        """Bring what is on show up to this moment; all that is read or written comes by here."""
        reading, now_s = self._pulse.read(), self._clock()
        self._note_commits(reading, now_s)
        if self._shown is not None and not self._expired:
            self._expired = (
                not reading.trusted
                or self._shown.seq <= self._old_seq
                or now_s - self._shown_s > self._config.valid_s
            )
        if self._awaited is not None:
            late = now_s - self._awaited.at_s > self._config.verdict_s
            if late or not reading.trusted:
                self._awaited, self._trigger_lost = None, True
        return reading

    def _note_commits(self, reading: Reading, now_s: float) -> None:
        """Learn how old results are that have waited: from when their number was first seen."""
        last = None if reading.status is None else reading.status.last
        if last is not None and (not self._commits or now_s - self._commits[-1][0] >= _SAMPLE_S):
            self._commits.append((now_s, last.seq))
        if not reading.trusted and self._commits:
            # What was judged before a doubt is not good after it, shown by then or not.
            self._old_seq = max(
                self._old_seq, self._commits[-1][1], 0 if last is None else last.seq
            )
        while self._commits and now_s - self._commits[0][0] > self._config.valid_s:
            self._old_seq = max(self._old_seq, self._commits.popleft()[1])

    def _answered(self, record: VerdictRecord) -> None:
        """End the wait for a trigger if this is its verdict.

        The line's status does not do for that: it does not tell a trigger's id from the number that
        a free-running camera gave a frame.
        """
        awaited = self._awaited
        if awaited is not None and awaited.is_answered_by(record):
            self._awaited = None

    def _written_id(self) -> int:
        return (self._holding[ACK_ID] << 16) | self._holding[ACK_ID + 1]

    def _free_place(self) -> None:
        if self._shown is not None:
            self._acknowledged_seq, self._shown, self._expired = self._shown.seq, None, False
            self._lock.notify_all()

    def _ready(self, reading: Reading) -> bool:
        return reading.trusted and self._awaited is None and not self._expired

    def _draw(self, reading: Reading) -> list[int]:
        image, flags, status = [0] * SIZE, Flag(0), reading.status
        if self._ready(reading):
            flags |= Flag.READY
        if self._awaited is not None:
            flags |= Flag.BUSY
        if self._trigger_lost:
            flags |= Flag.TRIGGER_LOST
        if not reading.trusted:
            flags |= Flag.FAULT
        if status is not None:
            image[Register.HEARTBEAT] = status.heartbeat & 0xFFFF
            image[Register.STATE] = STATES[status.state]
        image[Register.ACK_ECHO : Register.ACK_ECHO + 2] = self._holding[:2]
        if self._shown is not None:
            shown = result_id(self._shown)
            image[Register.RESULT_ID : Register.RESULT_ID + 2] = words(shown)
            if self._expired:
                flags |= Flag.EXPIRED
            else:
                flags |= write_result(image, self._shown, self._clock() - self._shown_s)
        image[Register.FLAGS] = int(flags)
        return image
