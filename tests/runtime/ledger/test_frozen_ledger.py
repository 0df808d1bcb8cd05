"""A ledger of every schema that was published once stays readable: see tests/data."""

import sqlite3
from pathlib import Path

import pytest

from zsad.ledger import Ledger, verify
from zsad.ledger.database import FILE, SCHEMA

DATA = Path(__file__).resolve().parents[2] / "data"
FROZEN = {1: "ledger1.sql"}


@pytest.mark.parametrize("name", FROZEN.values())
def test_a_frozen_ledger_is_read_and_goes_on(tmp_path, name, make_verdict):
    connection = sqlite3.connect(tmp_path / FILE)
    connection.executescript((DATA / name).read_text())
    connection.close()
    assert list(verify.check(tmp_path)) == []
    with Ledger.open(tmp_path) as ledger:
        ledger.register("plc")
        (told,) = ledger.pending("plc", 10)
        assert (told.seq, told.part, told.verdict) == (3, "2", "OK")
        assert (told.capture_to_verdict_ms, told.views[0].score) == (42.5, 0.25)
        assert ledger.commit(make_verdict(3)).seq == 4
    assert list(verify.check(tmp_path)) == []


def test_every_schema_is_frozen():
    assert set(FROZEN) == set(range(1, SCHEMA + 1))
