"""Kills a ledger's process over and over, and checks what it left each time.

python ledger_killer.py FOLDER ROUNDS

Each round forks a child per named point, which kills itself there, and as many that are killed at a
random moment. The named points are put into the child alone, around what the ledger calls; nothing
in the ledger knows of them. It prints how often each point was met, as JSON.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import ledger_child

from zsad.ledger import Ledger, database, journal, pictures, shelf, verify
from zsad.ledger.rows import records

STATEMENTS = {
    "begin": "BEGIN",
    "cursors": "UPDATE sinks",
    "clock": "INSERT OR REPLACE INTO clock",
    "verdict row": "INSERT INTO verdicts",
    "picture row": "INSERT INTO pictures",
    "commit": "COMMIT",
    "checkpoint": "PRAGMA wal_checkpoint",
    "retention": "DELETE FROM pictures",
    "audit": "INSERT INTO audit",
    "schema": "PRAGMA journal_mode",
}
CALLS = {
    "encoded": (pictures, "_write"),
    "picture written": (pictures.os, "fsync"),
    "picture renamed": (pictures.os, "replace"),
    "folder synced": (pictures, "sync_folder"),
    "pictures stored": (shelf, "name_pictures"),
    "files removed": (pictures.Path, "unlink"),
    "swept": (journal, "sweep"),
}
RANDOM = "any moment"
POINTS = (*STATEMENTS, *(f"{when} {name}" for name in CALLS for when in ("before", "after")))
ONCE = ("schema", "before swept", "after swept")
"""Met once by each process, so no use in waiting for a second time."""

AT_RANDOM = 18
"""Kills at any moment, per round."""


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def plant(point, countdown):
    """Make this process die when it meets a point for the `countdown`-th time."""
    left = [countdown]

    def met():
        left[0] -= 1
        if left[0] == 0:
            die()

    if point in STATEMENTS:
        _plant_statement(STATEMENTS[point], met)
    elif point != RANDOM:
        when, name = point.split(" ", 1)
        _plant_call(*CALLS[name], when, met)


def _plant_statement(beginning, met):
    connect = database.open_to_write

    def traced(path, busy_s):
        connection = connect(path, busy_s)
        connection.set_trace_callback(lambda sql: met() if sql.startswith(beginning) else None)
        if beginning == STATEMENTS["schema"]:
            met()
        return connection

    database.open_to_write = traced


def _plant_call(owner, name, when, met):
    call = getattr(owner, name)

    def around(*arguments, **options):
        if when == "before":
            met()
        result = call(*arguments, **options)
        if when == "after":
            met()
        return result

    setattr(owner, name, around)


def kill_once(folder, first, point, countdown, delay_s):
    """Return what a child said before it was killed, and whether it was."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            ledger_child.hurry()
            plant(point, countdown)
            ledger_child.commit_parts(folder, first, 40, ledger_child.say_on(writing))
        finally:
            os._exit(0)
    os.close(writing)
    if point == RANDOM:
        time.sleep(delay_s)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as stream:
        said = stream.read()
    _, status = os.waitpid(child, 0)
    return said, os.WIFSIGNALED(status)


def check(folder, acknowledged):
    """Open what was left and return the number of the newest part that it holds."""
    with Ledger.open(folder, ledger_child.CONFIG) as ledger:
        newest = ledger.newest
    connection = database.open_to_read(folder / database.FILE)
    kept = {record.part: record for record in records(connection, 1, -1)}
    connection.close()
    assert len(kept) == newest, "a part is there twice, or a number is missing"
    for part, (seq, verdict) in acknowledged.items():
        assert part in kept, f"part {part} was acknowledged and is lost"
        assert (kept[part].seq, kept[part].verdict) == (seq, verdict), part
    assert list(verify.check(folder)) == []
    return newest


def main():
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    dice = random.Random(11)
    met, told_of = dict.fromkeys((*POINTS, RANDOM), 0), 0
    for number in range(rounds):
        chosen = [*POINTS, *[RANDOM] * AT_RANDOM]
        base = folder / str(number)  # small ledgers are checked faster
        acknowledged, first = {}, 1
        for point in chosen:
            countdown = 1 if point in ONCE else 1 + dice.randrange(3)
            delay_s = dice.uniform(0.005, 0.05)
            said, killed = kill_once(base, first, point, countdown, delay_s)
            met[point] += killed
            told = [line.split() for line in said.splitlines()]
            assert all(words[0] == "ack" for words in told), said
            acknowledged |= {part: (int(seq), verdict) for _, seq, part, verdict in told}
            if base.is_dir():
                check(base, acknowledged)
            first += 40
        told_of += len(acknowledged)
    print(json.dumps({"met": met, "acknowledged": told_of}))


if __name__ == "__main__":
    main()
