"""The Modbus registers of a line: where each value is and how it is written.

Everything a PLC has to know about one result is in one block of input registers, so that a single
request reads it untorn. docs/modbus.md describes them for whoever programs the PLC.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, IntFlag

from zsad.ledger.rows import deciding_view
from zsad.line.record import VerdictRecord, ViewRecord
from zsad.line.status import LineState
from zsad.results import VerdictName

SIZE = 14
"""Input registers in use."""
TRIGGER_COIL = 0
ACK_ID, TRIGGER_ID = 0, 2
"""Holding registers that a PLC writes, two each, high word first."""
HOLDING_SIZE = 4
ACK_EXPIRED = 0xFFFFFFFF
"""Written to `ACK_ID`, it acknowledges every expired result at once."""
NO_SCORE = 0xFFFF
_SCALE = 10_000


class Flag(IntFlag):
    """Bits of the first input register; each is the discrete input of the same number too."""

    READY = 1 << 0
    BUSY = 1 << 1
    RESULT_VALID = 1 << 2
    OK = 1 << 3
    NG = 1 << 4
    NO_RESULT = 1 << 5
    FAULT = 1 << 6
    EXPIRED = 1 << 7
    TRIGGER_LOST = 1 << 8


class Register(IntEnum):
    """Input registers; those with an id hold two, high word first."""

    FLAGS = 0
    HEARTBEAT = 1
    STATE = 2
    RESULT_ID = 3
    ACK_ECHO = 5
    RESULT = 7
    SCORE = 8
    THRESHOLD = 9
    SHOWN_MS = 10
    PART = 11
    STATION = 13


RESULTS: Mapping[VerdictName, tuple[int, Flag]] = {
    "OK": (1, Flag.OK),
    "NG": (2, Flag.NG),
    "NO_RESULT": (3, Flag.NO_RESULT),
    "UNCALIBRATED": (4, Flag.NO_RESULT),
}
"""Value of the result register, and the flag; what has no threshold is no OK."""

STATES: Mapping[LineState, int] = {
    LineState.STARTING: 1,
    LineState.RUNNING: 2,
    LineState.DEGRADED: 3,
    LineState.FAULT: 4,
    LineState.STOPPING: 5,
}
"""Value of the state register; 0 where the line says nothing."""


def words(value: int) -> tuple[int, int]:
    """Return the high and the low word of a number, of its lowest 32 bits."""
    return (value >> 16) & 0xFFFF, value & 0xFFFF


def result_id(record: VerdictRecord) -> int:
    """Return a record's number as the PLC sees it: from 1 to 0xFFFFFFFE, then from 1 again."""
    return (record.seq - 1) % (ACK_EXPIRED - 1) + 1


def write_result(image: list[int], record: VerdictRecord, part: int, shown_s: float) -> Flag:
    """Write a result that may be acted on into `image`, and return its flags.

    Args:
        image: The input registers.
        record: The result.
        part: The number that the PLC gave its part; 0 for none.
        shown_s: For how long it has been on show.
    """
    code, flag = RESULTS[record.verdict]
    score, threshold = _compared(deciding_view(record))
    image[Register.RESULT] = code
    image[Register.SCORE] = _scaled(score)
    image[Register.THRESHOLD] = _scaled(threshold)
    image[Register.SHOWN_MS] = min(round(shown_s * 1000), 0xFFFF)
    image[Register.PART : Register.PART + 2] = words(part)
    return flag | Flag.RESULT_VALID


def _compared(view: ViewRecord | None) -> tuple[float | None, float | None]:
    """Return the score that decided, and the threshold that it was compared with."""
    if view is None:
        return None, None
    if view.defect is not None and view.defect_threshold is not None:
        return view.types.get(view.defect), view.defect_threshold
    return view.score, view.threshold


def _scaled(value: float | None) -> int:
    return NO_SCORE if value is None else round(min(max(value, 0.0), 1.0) * _SCALE)
