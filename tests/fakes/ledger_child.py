"""A process that commits verdicts, for tests that kill it or take its disk away.

python ledger_child.py FOLDER COUNT [TIMEOUT_S]

It opens the ledger twice, for half of them each, and once where a timeout is given, with bounds so
small that the log is worked in and pictures are deleted all the time. It says on standard output
what the ledger answered, a line each: `ack SEQ PART VERDICT`, or `refused PART SECONDS REASON`.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from zsad.errors import LedgerError
from zsad.images import frame_sha256
from zsad.ledger import (
    Ledger,
    LedgerConfig,
    Picture,
    RetentionConfig,
    SnapshotConfig,
    log,
    writer,
)
from zsad.line.record import VerdictRecord, ViewRecord

CONFIG = LedgerConfig(
    snapshots=SnapshotConfig(ok_every=4),
    retention=RetentionConfig(pictures_gib=12_000 / (1 << 30), ng_kept=4, free_gib=0),
    commit_timeout_s=20.0,
)
VERDICTS = ("OK", "NG", "OK", "NO_RESULT")
SINK = "plc"

_VIEW = ViewRecord(
    "top", "0", None, "OK", None, 0.25, None, 0.5, "graph", "a" * 64, "b" * 64, "cpu"
)
_UTC = "2026-11-26T08:00:00.000+00:00"


def part_of(number):
    """The verdict about part `number`, and its picture: two thirds have one."""
    verdict = VERDICTS[number % len(VERDICTS)]
    frame = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
    view = replace(_VIEW, verdict=verdict, frame_sha256=frame_sha256(frame))
    record = VerdictRecord(0, "line", str(number), verdict, None, (view,), _UTC, _UTC, 40.0)
    return record, Picture(0, frame, b"\xff\xd8" + bytes([number % 251]) * 700)


def commit_parts(folder, first, count, say, config=CONFIG):
    """Commit parts and `say` each answer, once it is given."""
    with Ledger.open(folder, config) as ledger:
        ledger.register(SINK)
        for number in range(first, first + count):
            record, picture = part_of(number)
            start = time.monotonic()
            try:
                seq = ledger.commit(record, [picture]).seq
            except LedgerError as error:
                say(f"refused {number} {time.monotonic() - start:.3f} {error}")
                continue
            say(f"ack {seq} {number} {record.verdict}")
            ledger.acknowledge(SINK, seq - 1)


def hurry():
    """Let upkeep come with every few commits, in this process."""
    log.LIMIT_BYTES = 80_000
    writer._UPKEEP_EVERY_S = 0.005


def say_on(descriptor):
    return lambda line: os.write(descriptor, (line + "\n").encode())


def main():
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    hurry()
    if len(sys.argv) > 3:
        config = replace(CONFIG, commit_timeout_s=float(sys.argv[3]))
        commit_parts(folder, 1, count, say_on(1), config)
    else:
        commit_parts(folder, 1, count // 2, say_on(1))
        commit_parts(folder, 1 + count // 2, count // 2, say_on(1))


if __name__ == "__main__":
    main()
