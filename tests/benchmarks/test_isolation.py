import json
import subprocess

import pytest
from click.testing import CliRunner

import isolation
from isolation import DOWN, FROZEN, FULL, SLOW, UP
from isolation_report import Found, Taken, findings, table


@pytest.mark.system("mosquitto")
def test_every_condition_is_timed_and_a_full_disk_refuses(make_artifact, tmp_path):
    pytest.importorskip("paho")
    disk, path = tmp_path / "disk", tmp_path / "isolation.json"
    disk.mkdir()
    words = [str(make_artifact()), "--frames", "12", "--turns", "1", "--json", str(path)]
    mounted = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    is_small = subprocess.run(mounted, capture_output=True).returncode == 0
    try:
        small = ["--small-disk", str(disk)] if is_small else []
        done = CliRunner().invoke(isolation.main, [*words, *small])
    finally:
        if is_small:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
    assert done.exit_code == 0, done.output
    rows = {row["condition"]: row for row in json.loads(path.read_text())["rows"]}
    assert list(rows) == [UP, DOWN, FROZEN, SLOW, *([FULL] if is_small else [])]
    for name, row in rows.items():
        assert row["frames"] == 12
        assert 0 < row["commit_p50_ms"] <= row["commit_p99_ms"]
        assert (row["refused"] > 0) == (name == FULL)


def test_percentiles_are_those_of_the_frames():
    rows = findings({UP: Taken([10.0, 20.0, 30.0], [1.0, 1.0, 3.0], 1)})
    assert rows == [Found(UP, 3, 20.0, 29.8, 1.0, 2.96, 1)]
    assert table(rows).splitlines()[-1] == "| broker up | 3 | 20.0 | 29.8 | 1.0 | 3.0 | 1 |"
