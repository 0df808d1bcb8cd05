import sqlite3
from dataclasses import replace

import pytest

from zsad.errors import InputError
from zsad.ledger import Ledger, LedgerConfig, RetentionConfig, SnapshotConfig, audit
from zsad.ledger import retention as module
from zsad.ledger.clock import MAX_REBOOT_S
from zsad.ledger.database import FILE, open_to_write
from zsad.ledger.pictures import FOLDER
from zsad.ledger.retention import Retention

DAY_S = 86_400.0
GIB = 1 << 30
KEEP = RetentionConfig(pictures_days=10, ng_pictures_days=100, verdicts_days=200, free_gib=0)
CONFIG = LedgerConfig(snapshots=SnapshotConfig(ok_every=1), retention=KEEP)


def files(folder):
    names = {path.name for path in (folder / FOLDER).rglob("*") if path.is_file()}
    return sorted({int(name.split("-")[0]) for name in names})


@pytest.fixture
def prune(tmp_path, clocks):
    """Return `prune(config, free=...)`: opens the ledger and deletes until nothing is due."""

    def all_of_it(config=CONFIG, free=lambda folder: 1000 * GIB, acknowledged=10**9):
        with Ledger.open(tmp_path, config, clocks) as ledger:
            clock = ledger._journal.clock
        connection = open_to_write(tmp_path / FILE, 1.0)
        retention = Retention(tmp_path, config.retention, clock, free)
        retention.measure(connection)
        while retention.step(connection, acknowledged):
            pass
        return connection

    return all_of_it


def why(connection):
    return [(row.what, row.reason) for row in audit.rows(connection)]


def test_pictures_go_by_age_those_of_ng_later_and_verdicts_last(
    tmp_path, clocks, commit_part, prune
):
    with Ledger.open(tmp_path, CONFIG, clocks) as ledger:
        commit_part(ledger, 1, "OK")
        commit_part(ledger, 2, "NG")
        clocks.advance(5 * DAY_S)
        commit_part(ledger, 3, "OK")
    clocks.advance(6 * DAY_S)
    connection = prune()
    assert files(tmp_path) == [2, 3]
    assert why(connection)[0][0].startswith("deleted 2 pictures (")
    assert why(connection)[0][1] == "older than 10 days"
    clocks.advance(90 * DAY_S)
    prune().close()
    assert files(tmp_path) == []
    assert connection.execute("SELECT count(*) FROM verdicts").fetchone() == (3,)
    clocks.advance(100 * DAY_S)
    prune().close()
    # Both others are old enough too, and the newest stays so that numbers go on from it.
    assert connection.execute("SELECT seq FROM verdicts").fetchall() == [(3,)]
    assert why(connection)[-1] == ("deleted verdicts 1 to 2", "older than 200 days")
    assert list(audit.check_chain(connection)) == []
    connection.close()
    with Ledger.open(tmp_path, CONFIG, clocks) as ledger:
        assert commit_part(ledger, 4).seq == 4


def test_over_the_size_the_oldest_go_and_the_newest_ng_never(tmp_path, clocks, commit_part, prune):
    with Ledger.open(tmp_path, CONFIG, clocks) as ledger:
        for part, verdict in enumerate(["NG", "OK", "NG", "OK", "OK", "NG"], start=1):
            commit_part(ledger, part, verdict)
    connection = sqlite3.connect(tmp_path / FILE)
    by_part = dict(connection.execute("SELECT seq, sum(bytes) FROM pictures GROUP BY seq"))
    connection.close()

    def left(parts, ng_kept=1):
        limit = sum(by_part[part] for part in parts) / 0.95 + 200
        keep = replace(KEEP, pictures_gib=limit / GIB, ng_kept=ng_kept)
        prune(replace(CONFIG, retention=keep)).close()
        return files(tmp_path)

    assert left([1, 3, 5, 6]) == [1, 3, 5, 6]  # 2 and 4 are older, and not NG
    assert left([3, 6]) == [3, 6]  # no OK is left, so the oldest NG goes
    assert left([], ng_kept=2) == [3, 6]
    assert left([], ng_kept=1) == [6]


def test_a_disk_that_others_fill_costs_no_protected_ng_and_no_verdict(
    tmp_path, clocks, commit_part, prune, monkeypatch
):
    keep = replace(KEEP, free_gib=2.0, ng_kept=1)
    config = replace(CONFIG, retention=keep)
    with Ledger.open(tmp_path, CONFIG, clocks) as ledger:
        for part, verdict in enumerate(["NG", "OK", "NG"], start=1):
            commit_part(ledger, part, verdict)
    connection = prune(config, free=lambda folder: int(0.9 * GIB))
    assert files(tmp_path) == [3]
    assert ("pictures are no longer written", "less than 1 GiB free") in why(connection)
    connection.close()
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: Usage(int(0.9 * GIB)))
    with Ledger.open(tmp_path, config, clocks) as ledger:
        assert commit_part(ledger, 4, "NG").views[0].snapshot is None
        monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: Usage(3 * GIB))
        assert commit_part(ledger, 5, "NG").views[0].snapshot is not None
    assert files(tmp_path) == [3, 5]


class Usage:
    def __init__(self, free):
        self.free = free


@pytest.mark.parametrize("step_s", [-3600.0, DAY_S, 365 * DAY_S, -365 * DAY_S])
def test_a_step_of_the_wall_clock_deletes_nothing(tmp_path, clocks, commit_part, prune, step_s):
    with Ledger.open(tmp_path, CONFIG, clocks) as ledger:
        commit_part(ledger, 1)
        clocks.wall += step_s
        commit_part(ledger, 2)
    clocks.wall += step_s
    connection = prune()
    assert files(tmp_path) == [1, 2]
    ages = [age for (age,) in connection.execute("SELECT ledger_s FROM verdicts ORDER BY seq")]
    assert ages == sorted(ages)
    connection.close()


def test_a_reboot_ages_by_the_wall_clock_and_by_one_day_at_most(
    tmp_path, clocks, commit_part, prune
):
    with Ledger.open(tmp_path, CONFIG, clocks) as ledger:
        commit_part(ledger, 1)
        assert ledger._journal.clock.now_s() == 0.0
    for off_s, age_s in ((3600.0, 3600.0), (-50 * 365 * DAY_S, 3600.0)):
        clocks.reboot(off_s)
        with Ledger.open(tmp_path, CONFIG, clocks) as ledger:
            assert ledger._journal.clock.now_s() == pytest.approx(age_s)
            commit_part(ledger, 2)  # which keeps the clock's reading
    clocks.reboot(50 * 365 * DAY_S)  # the clock was dead, and is right again
    with Ledger.open(tmp_path, CONFIG, clocks) as ledger:
        assert ledger._journal.clock.now_s() == pytest.approx(3600.0 + MAX_REBOOT_S)
    prune().close()
    assert files(tmp_path) == [1, 2, 3]


def test_time_passed_while_the_daemon_was_down_counts_in_full_without_a_reboot(
    tmp_path, clocks, commit_part, prune
):
    with Ledger.open(tmp_path, CONFIG, clocks) as ledger:
        commit_part(ledger, 1)
    clocks.advance(11 * DAY_S)
    prune().close()
    assert files(tmp_path) == []


def test_verdicts_that_a_consumer_waits_for_outlive_their_age(tmp_path, clocks, commit_part, prune):
    with Ledger.open(tmp_path, CONFIG, clocks) as ledger:
        for part in range(1, 5):
            commit_part(ledger, part)
    clocks.advance(300 * DAY_S)
    connection = prune(acknowledged=1)
    assert connection.execute("SELECT min(seq), max(seq) FROM verdicts").fetchone() == (2, 4)
    connection.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pictures_gib": 0.0}, "pictures_gib is 0: choose more than 0"),
        ({"ng_kept": -1}, "ng_kept is -1: choose 0 or more"),
        ({"ng_pictures_days": 5.0}, "NG is kept longer"),
        ({"verdicts_days": 50.0}, "a picture without its verdict"),
    ],
)
def test_a_retention_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(KEEP, **change)
