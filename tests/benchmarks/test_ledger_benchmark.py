import json

import pytest
from click.testing import CliRunner

import ledger
from ledger import FLOOR, FRAME, HEAT_MAP, PLAIN, Found, findings, table


def test_every_kind_of_commit_is_timed_and_the_disk_left_clean(tmp_path):
    disk, path = tmp_path / "disk", tmp_path / "ledger.json"
    disk.mkdir()
    words = [str(disk), "--runs", "3", "--width", "32", "--height", "24", "--json", str(path)]
    result = CliRunner().invoke(ledger.main, words)
    assert result.exit_code == 0, result.output
    record = json.loads(path.read_text())
    assert [each["what"] for each in record["commits"]] == [FLOOR, PLAIN, HEAT_MAP, FRAME]
    assert all(0 < each["p50_ms"] <= each["p99_ms"] for each in record["commits"])
    assert list(disk.iterdir()) == []


def test_costs_stand_against_the_floor():
    rows = findings({FLOOR: [1.0, 1.0, 1.0], PLAIN: [2.0, 4.0, 2.0]})
    assert rows[0] == Found(FLOOR, 1000.0, 1.0, 1.0, 1.0)
    assert rows[1].per_s == pytest.approx(375.0)
    assert (rows[1].p50_ms, rows[1].times_floor) == (2.0, 2.0)
    assert table(rows).splitlines()[-1] == "| verdict | 375 | 2.00 | 3.96 | 2.0 |"
