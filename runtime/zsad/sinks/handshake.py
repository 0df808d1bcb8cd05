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
from zsad.sinks.triggers import PartNames, Triggers

_log = logging.getLogger(__name__)

_SAMPLE_S = 0.1


class Handshake:
    """What is on show, shared by the courier's thread and the server's."""

    def __init__(
        self,
        config: ModbusConfig,
        pulse: Pulse,
        first_seq: int,
        trigger: Callable[[str], bool] | None,
        clock: Callable[[], float] = time.monotonic,
        names: PartNames | None = None,
    ) -> None:
        """Begin with nothing on show.

        Args:
            config: The limits.
            pulse: Whether the line may be believed.
            first_seq: Records before it are an earlier run's, and old however new they look.
            trigger: Starts a part, see `SinkContext`.
            clock: Seconds; replaced in tests.
            names: How its parts are called.
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
        self._newest_seq = 0  # of all that the PLC has been or will be shown
        self._old_seq = first_seq - 1  # records up to it are too old to act on
        self._commits: deque[tuple[float, int]] = deque()  # (when seen, newest number by then)
        self._holding = [0] * HOLDING_SIZE
        self._trigger_was_on = False
        self._triggers = Triggers(config.verdict_s)
        self._names = names or PartNames()

    def show(self, record: VerdictRecord) -> bool:
        """Put a record on show unless another still is; return whether it is acknowledged already.

        A dry run's verdict moves nothing, so no PLC is shown it; nor is one that was recorded late,
        since it saw the fault instead, unless it still waits for that very part.
        """
        with self._lock:
            unheard = record.late and not self._triggers.awaits(record)
            if record.dry_run or unheard or record.seq <= self._acknowledged_seq:
                self._triggers.settle(record)
                return True
            self._newest_seq = max(self._newest_seq, record.seq)
            self._refresh()
            if self._shown is None:
                self._shown, self._shown_s = record, self._clock()
                self._expired = self._triggers.settle(record)
                self._refresh()
            if self._expired and self._number_at(ACK_ID) == ACK_EXPIRED:
                self._free_place()
            return self._acknowledged_seq >= record.seq

    def wait_acknowledged(self, seq: int, timeout_s: float) -> bool:
        """Wait until the PLC has acknowledged `seq`, and return whether it has."""
        with self._lock:
            return self._lock.wait_for(lambda: self._acknowledged_seq >= seq, timeout_s)

    def notice(self, records: Sequence[VerdictRecord]) -> None:
        """Take note of verdicts that wait for their turn: no trigger is taken before it."""
        with self._lock:
            shown = (each.seq for each in records if not (each.dry_run or each.late))
            self._newest_seq = max(self._newest_seq, *shown, 0)
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
                written = self._number_at(ACK_ID)
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
            reading = self._refresh()
            if not on or self._trigger_was_on:
                self._trigger_was_on = on
                return True
            if not self._ready(reading):
                return False
            part = self._names.name(self._number_at(TRIGGER_ID))
            last = None if reading.status is None else reading.status.last
            after_seq = max(self._newest_seq, self._old_seq, 0 if last is None else last.seq)
            if not self._triggers.begin(part, self._clock(), after_seq):
                return False
            self._trigger_was_on = True
        taken = self._was_taken(part)
        if not taken:
            with self._lock:
                self._triggers.cancel()
                self._trigger_was_on = False
        return taken

    def _was_taken(self, part: str) -> bool:
        try:
            return self._trigger is not None and self._trigger(part)
        except Exception:  # a camera's fault must end as a refusal, not as a busy line
            _log.exception("the trigger of part %s failed", part)
            return False

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
        self._triggers.look(now_s, reading.trusted)
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

    def _number_at(self, address: int) -> int:
        return (self._holding[address] << 16) | self._holding[address + 1]

    def _free_place(self) -> None:
        if self._shown is not None:
            self._acknowledged_seq, self._shown, self._expired = self._shown.seq, None, False
            self._lock.notify_all()

    def _ready(self, reading: Reading) -> bool:
        if not reading.trusted or self._expired:
            return False
        if self._trigger is None:
            return True
        # What is on show or will be, and is not too old, must not pass for the next part's result.
        done_seq = max(self._acknowledged_seq, self._old_seq)
        return self._shown is None and self._newest_seq <= done_seq and not self._triggers.is_busy

    def _draw(self, reading: Reading) -> list[int]:
        image, flags, status = [0] * SIZE, Flag(0), reading.status
        if self._ready(reading):
            flags |= Flag.READY
        if self._triggers.is_busy:
            flags |= Flag.BUSY
        if self._triggers.is_lost:
            flags |= Flag.TRIGGER_LOST
        if not reading.trusted:
            flags |= Flag.FAULT
        if status is not None:
            image[Register.HEARTBEAT] = status.heartbeat & 0xFFFF
            image[Register.STATE] = STATES[status.state]
        image[Register.STATION] = self._config.station
        image[Register.ACK_ECHO : Register.ACK_ECHO + 2] = self._holding[:2]
        if self._shown is not None:
            shown = result_id(self._shown)
            image[Register.RESULT_ID : Register.RESULT_ID + 2] = words(shown)
            if self._expired:
                flags |= Flag.EXPIRED
            else:
                part, shown_s = self._names.number(self._shown), self._clock() - self._shown_s
                flags |= write_result(image, self._shown, part, shown_s)
        image[Register.FLAGS] = int(flags)
        return image
