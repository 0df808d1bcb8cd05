"""`kill -9` at named points and at any moment: nothing acknowledged is lost, nothing is torn.

This does not test fsync, since what a killed process wrote survives it: see test_power_cut.py.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import ledger_killer
import pytest


def kill_in_rounds(folder, rounds):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, ledger_killer.__file__, str(folder), str(rounds)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def memory(tmp_path_factory):
    """A folder that needs no disk, where there is one."""
    shared = Path("/dev/shm")
    base = shared if os.access(shared, os.W_OK) else tmp_path_factory.getbasetemp()
    with tempfile.TemporaryDirectory(dir=base) as folder:
        yield Path(folder)


def test_two_hundred_kills_lose_nothing_that_was_acknowledged(memory):
    found = kill_in_rounds(memory, 5)
    assert sum(found["met"].values()) >= 200
    assert [point for point, count in found["met"].items() if count == 0] == []
    assert found["acknowledged"] > 100


@pytest.mark.slow
def test_two_thousand_kills(tmp_path):
    found = kill_in_rounds(tmp_path, 50)
    assert sum(found["met"].values()) >= 2000
