"""What a power cut can take: every state that the disk could be left in, opened and checked.

`kill -9` does not test this: what a killed process wrote is still in memory and reaches the disk.
"""

import os
import shutil
import sys
from pathlib import Path

import disk_log
import ledger_child
import numpy as np
import pytest

from zsad.errors import InputError
from zsad.ledger import Ledger, verify
from zsad.ledger.database import FILE, open_to_read
from zsad.ledger.rows import records

CHILD = Path(ledger_child.__file__)
EVERYTHING = ("create", "mkdir", "write", "truncate", "rename", "unlink", "sync", "say")


@pytest.fixture(scope="module")
def operations(tmp_path_factory):
    """What a ledger asked of the disk for 32 verdicts, with a restart in their middle."""
    base = tmp_path_factory.mktemp("recorded")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(CHILD), str(base / "ledger"), "32"]
    found = disk_log.record(command, base / "ledger", environment, base / "log")
    said = b"".join(each.data for each in found if each.kind == "say").decode()
    assert [line.split()[:2] for line in said.splitlines()] == [
        ["ack", str(seq)] for seq in range(1, 33)
    ]
    return found


@pytest.fixture
def scratch(tmp_path):
    """A folder in memory, where there is one: nothing here depends on the disk it lies on."""
    memory = Path("/dev/shm")
    base = memory / tmp_path.name if os.access(memory, os.W_OK) else tmp_path / "scratch"
    shutil.rmtree(base, ignore_errors=True)
    yield base
    shutil.rmtree(base, ignore_errors=True)


def faults(folder, said):
    """Return what is wrong with a ledger that was found after a power cut, one line each."""
    acknowledged = [line.split()[1:] for line in said.splitlines()]
    try:
        with Ledger.open(folder, ledger_child.CONFIG) as ledger:
            newest = ledger.newest
    except InputError as error:
        return [str(error)]
    found = list(verify.check(folder))
    connection = open_to_read(folder / FILE)
    kept = {str(r.seq): [str(r.seq), r.part, r.verdict] for r in records(connection, 1, -1)}
    cursor = connection.execute("SELECT max(acknowledged) FROM sinks").fetchone()[0] or 0
    connection.close()
    found += [f"{told} is lost" for told in acknowledged if kept.get(told[0]) != told]
    if newest > len(acknowledged) + 1:
        found.append(f"{newest} verdicts, {len(acknowledged)} were acknowledged")
    if cursor > newest:
        found.append(f"a consumer has acknowledged {cursor} of {newest}")
    return found


def examine(operations, scratch, seed, per_point, at=("sync", "say")):
    """Return how many different states there are, and what is wrong with each bad one."""
    seen, bad, rng = {}, [], np.random.default_rng(seed)
    for index, said, disk in disk_log.crash_states(operations, rng, per_point, at):
        if seen.get(key := disk.key()) == said:
            continue
        seen[key] = said
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        disk.write_to(scratch)
        bad += [f"cut at {index}: {fault}" for fault in faults(scratch, said)]
    return len(seen), bad


@pytest.mark.system("strace")
def test_a_power_cut_loses_no_acknowledged_verdict_and_tears_no_picture(operations, scratch):
    states, bad = examine(operations, scratch, seed=6, per_point=12)
    assert bad == []
    assert states > 900


@pytest.mark.slow
@pytest.mark.system("strace")
def test_a_power_cut_at_any_operation_loses_nothing_that_was_acknowledged(operations, scratch):
    states, bad = examine(operations, scratch, seed=7, per_point=8, at=EVERYTHING)
    assert bad == []
    assert states > 5000


@pytest.mark.system("strace")
@pytest.mark.parametrize(
    ("unsynced", "lost"),
    [
        ("ledger.sqlite-wal", "is lost"),
        ("pictures/000000/000000001", "0-d2e65123d949.png is empty (0 bytes)"),
        ("pictures/000000", "is missing"),
    ],
)
def test_a_ledger_that_left_an_fsync_out_would_be_found_out(operations, scratch, unsynced, lost):
    careless = [
        each
        for each in operations
        if not (each.kind == "sync" and (each.path + "-").startswith(unsynced + "-"))
    ]
    ends = [index for index, each in enumerate(careless) if each.kind == "say"]
    _, bad = examine(careless[: ends[1]], scratch, seed=8, per_point=6)
    assert any(lost in fault for fault in bad), bad
