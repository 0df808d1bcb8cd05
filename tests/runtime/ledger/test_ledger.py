import os
import sqlite3
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from ledger_rig import commit_unheard, query
from waiting import wait_until

from zsad.errors import InputError
from zsad.ledger import (
    AuditEvent,
    Ledger,
    LedgerConfig,
    LedgerError,
    Picture,
    SnapshotConfig,
    verify,
)
from zsad.ledger.database import FILE, SCHEMA
from zsad.ledger.job import Job
from zsad.ledger.pictures import FOLDER
from zsad.schema import from_json

KEEP_ALL = LedgerConfig(snapshots=SnapshotConfig(ok_every=1))


def files(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in (folder / FOLDER).rglob("*")
        if path.is_file()
    )


def test_numbers_go_on_from_1_without_gaps_over_a_restart(tmp_path, make_verdict):
    with Ledger.open(tmp_path / "new" / "ledger") as ledger:
        assert ledger.newest == 0
        assert [ledger.commit(make_verdict(part)).seq for part in range(3)] == [1, 2, 3]
    with Ledger.open(tmp_path / "new" / "ledger") as ledger:
        assert ledger.newest == 3
        assert ledger.commit(make_verdict(3)).seq == 4


def test_what_a_consumer_reads_is_what_was_committed(tmp_path, make_verdict):
    record = make_verdict("Teil-Ä", "NG", [None, None], score=0.1 + 0.2, types={"dent": 0.5})
    with Ledger.open(tmp_path) as ledger:
        ledger.register("plc")
        committed = ledger.commit(record)
        assert committed == replace(record, seq=1)
        assert ledger.pending("plc", 10) == [committed]


def test_plain_sqlite3_can_query_what_an_engineer_asks_for(tmp_path, make_verdict):
    views = make_verdict("7", "NG", [None, None], score=0.9, threshold=0.5).views
    record = replace(
        make_verdict("7", "NG"),
        views=(replace(views[0], verdict="OK", camera="left", score=0.1), views[1]),
    )
    with Ledger.open(tmp_path) as ledger:
        ledger.commit(record)
    asked = "seq, line, part, verdict, camera, score, threshold, recipe, dry_run"
    found = query(tmp_path, f"SELECT {asked} FROM verdicts")
    assert found == [(1, "housing", "7", "NG", "top", 0.9, 0.5, None, 0)]
    by_view = query(tmp_path, "SELECT view, camera, verdict, score FROM views")
    assert by_view == [(0, "left", "OK", 0.1), (1, "top", "NG", 0.9)]
    assert query(tmp_path, "PRAGMA journal_mode") == [("wal",)]


def test_the_frame_of_an_ng_part_is_kept_to_the_last_bit(tmp_path, make_frame, commit_part):
    with Ledger.open(tmp_path) as ledger:
        view = commit_part(ledger, 5, "NG").views[0]
    stored = cv2.imread(str(tmp_path / view.snapshot), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(stored, make_frame(5))
    assert (tmp_path / view.heat_map).read_bytes() == b"\xff\xd8heat"
    assert files(tmp_path) == sorted([view.snapshot, view.heat_map])


def test_policy_says_whose_pictures_are_kept(tmp_path, commit_part):
    config = LedgerConfig(snapshots=SnapshotConfig(ok_every=3, no_result_every=0))
    kept, announced = [], []
    with Ledger.open(tmp_path, config) as ledger:
        for part, verdict in enumerate(["OK", "NG", "OK", "OK", "NO_RESULT", "OK"], start=1):
            announced.append(ledger.keeps_pictures(verdict))
            kept.append(commit_part(ledger, part, verdict).views[0].snapshot is not None)
    assert kept == announced == [False, True, True, False, False, True]


def test_a_frame_that_its_record_does_not_name_is_refused(tmp_path, make_verdict, make_frame):
    with Ledger.open(tmp_path) as ledger:
        record = make_verdict(1, "NG", [make_frame(1)])
        with pytest.raises(LedgerError, match="is not the one that its record names"):
            ledger.commit(record, [Picture(0, make_frame(2), None)])
        with pytest.raises(LedgerError, match=r"shape \(24, 0, 3\) cannot be stored"):
            empty = make_frame(1)[:, :0]
            ledger.commit(make_verdict(1, "NG", [empty]), [Picture(0, empty, None)])
    assert query(tmp_path, "SELECT verdict FROM verdicts") == [("NO_RESULT",)] * 2


def test_files_that_no_verdict_names_are_swept_at_the_start(tmp_path, commit_part):
    with Ledger.open(tmp_path, KEEP_ALL) as ledger:
        commit_part(ledger, 1)
    before = files(tmp_path)
    (tmp_path / before[0]).with_name("000000002-0-abc.png").write_bytes(b"whole")
    (tmp_path / before[0]).with_name("000000002-0-abc.jpg.tmp").write_bytes(b"ha")
    with Ledger.open(tmp_path, KEEP_ALL) as ledger:
        assert files(tmp_path) == before
        assert commit_part(ledger, 2).seq == 2


def test_a_second_process_is_refused(tmp_path):
    with Ledger.open(tmp_path), pytest.raises(InputError, match="in use by another process"):
        Ledger.open(tmp_path)
    Ledger.open(tmp_path).close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path):
    Ledger.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    with pytest.raises(InputError, match=f"schema {SCHEMA + 1}, this zsad reads up to {SCHEMA}"):
        Ledger.open(tmp_path)
    assert query(tmp_path, "PRAGMA user_version") == [(SCHEMA + 1,)]


def test_what_is_no_ledger_is_refused(tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / FILE).write_text("no database" * 100)
    with pytest.raises(InputError, match="is not a database"):
        Ledger.open(tmp_path / "text")
    (tmp_path / "other").mkdir()
    connection = sqlite3.connect(tmp_path / "other" / FILE)
    connection.execute("CREATE TABLE shopping (item TEXT)")
    connection.close()
    with pytest.raises(InputError, match="database of something else"):
        Ledger.open(tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Ledger.open(tmp_path / "file")


def test_a_waiting_thread_is_woken_by_a_commit(tmp_path, make_verdict):
    with Ledger.open(tmp_path) as ledger:
        found = []
        waiter = threading.Thread(target=lambda: found.append(ledger.wait_for(1, 10.0)))
        waiter.start()
        ledger.commit(make_verdict(1))
        waiter.join(10.0)
        assert found == [True]
        assert not ledger.wait_for(2, 0.01)


def test_a_verdict_that_is_no_json_is_a_ledger_error(tmp_path, make_verdict):
    with Ledger.open(tmp_path) as ledger, pytest.raises(LedgerError, match="part '1' holds NaN"):
        ledger.commit(make_verdict(1, score=float("nan")))


def test_another_programs_lock_is_a_ledger_error_until_it_is_gone(tmp_path, make_verdict):
    with Ledger.open(tmp_path, LedgerConfig(commit_timeout_s=0.6)) as ledger:
        ledger.register("plc")
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="locked"):
            ledger.commit(make_verdict(1))
        assert "locked" in ledger.fault
        other.execute("ROLLBACK")
        other.close()
        wait_until(lambda: ledger.fault is None)  # by itself, without a commit
        assert ledger.commit(make_verdict(2)).seq == 2
        told = [(record.part, record.verdict) for record in ledger.pending("plc", 10)]
        assert told == [("1", "NO_RESULT"), ("2", "OK")]


def test_a_name_that_is_no_text_is_kept_as_its_escape_and_stops_nothing(tmp_path, make_verdict):
    name = os.fsdecode(b"M\xfcller.png")  # a file's, of a machine that writes Latin-1
    with Ledger.open(tmp_path) as ledger:
        ledger.register("mes")
        committed = ledger.commit(make_verdict(name, frame=name))
        ledger.audit(AuditEvent("override", "me", f"{name} sorted out", "by hand"))
        assert ledger.pending("mes", 10) == [committed]
        assert committed.part == name, "consumers are told the name as it is"
        assert ledger.commit(make_verdict("next")).seq == 2
    found = query(tmp_path, "SELECT part, frame FROM verdicts WHERE seq = 1")
    assert found == [("M\\udcfcller.png", "M\\udcfcller.png")]
    assert list(verify.check(tmp_path)) == []


def test_a_reader_that_keeps_the_log_growing_is_told_of_until_it_ends(
    tmp_path, make_verdict, monkeypatch, caplog
):
    monkeypatch.setattr("zsad.ledger.log.LIMIT_BYTES", 50_000)
    monkeypatch.setattr("zsad.ledger.log.LARGE_BYTES", 200_000)
    monkeypatch.setattr("zsad.ledger.writer._UPKEEP_EVERY_S", 0.005)

    def warned():
        return caplog.text.count("has not ended its transaction")

    with Ledger.open(tmp_path) as ledger:
        ledger.commit(make_verdict("first"))
        for part in range(40):
            ledger.commit(make_verdict(part))
        wait_until(lambda: log_bytes(tmp_path) < 200_000)
        before = warned()
        reader = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM verdicts").fetchall()
        while log_bytes(tmp_path) < 250_000:
            ledger.commit(make_verdict("x"))
        wait_until(lambda: warned() == before + 1)
        reader.close()
        wait_until(lambda: ledger.commit(make_verdict("y")) and log_bytes(tmp_path) < 200_000)
        assert ledger.fault is None


def log_bytes(folder):
    return (folder / f"{FILE}-wal").stat().st_size


class HeldDisk:
    """Holds up every commit of a ledger's connection while `hold` is set."""

    def __init__(self, monkeypatch):
        from zsad.ledger import journal as module

        self.free, self.reached = threading.Event(), threading.Event()
        self.free.set()
        insert = module.rows.insert

        def held(*arguments):
            insert(*arguments)
            self.reached.set()
            assert self.free.wait(20.0)

        monkeypatch.setattr(module.rows, "insert", held)


def test_a_disk_that_hangs_holds_a_commit_up_for_the_stated_time_and_no_longer(
    tmp_path, make_verdict, monkeypatch
):
    disk = HeldDisk(monkeypatch)
    with Ledger.open(tmp_path, LedgerConfig(commit_timeout_s=0.3)) as ledger:
        ledger.register("plc")
        ledger.commit(make_verdict("before"))
        disk.free.clear()
        start = time.monotonic()
        with pytest.raises(LedgerError, match=r"did not take a write within 0\.3 s"):
            ledger.commit(make_verdict("late", "OK"))
        assert 0.3 <= time.monotonic() - start < 2.0
        start = time.monotonic()
        with pytest.raises(LedgerError, match="still hangs"):
            ledger.commit(make_verdict("at once"))
        assert time.monotonic() - start < 0.2
        assert ledger.backlog("plc") == 1
        disk.free.set()
        wait_until(lambda: ledger.newest == 3)
        assert ledger.commit(make_verdict("after")).seq == 4
        told = ledger.pending("plc", 10)
    assert [(r.seq, r.part, r.verdict) for r in told] == [
        (1, "before", "OK"),
        (2, "late", "NO_RESULT"),
        (3, "at once", "NO_RESULT"),
        (4, "after", "OK"),
    ]
    assert "the line was told NO_RESULT" in told[1].reason
    assert query(tmp_path, "SELECT verdict, reason FROM verdicts WHERE seq = 2") == [
        ("NO_RESULT", told[1].reason)
    ]


def test_a_failed_commit_leaves_no_picture(tmp_path, commit_part):
    with Ledger.open(tmp_path, KEEP_ALL) as ledger:
        commit_part(ledger, 1)
        kept = files(tmp_path)
        assert len(kept) == 2
        query(
            tmp_path,
            "CREATE TRIGGER planted BEFORE INSERT ON verdicts"
            " BEGIN SELECT RAISE(ABORT, 'planted'); END",
        )
        for part in (2, 3):
            with pytest.raises(LedgerError, match="planted"):
                commit_part(ledger, part)
        wait_until(lambda: files(tmp_path) == kept)
        query(tmp_path, "DROP TRIGGER planted")
        assert commit_part(ledger, 4).seq == 4
        wait_until(lambda: len(files(tmp_path)) == 4)
    assert list(verify.check(tmp_path)) == []


def test_pictures_that_cannot_be_written_are_not_left_by_halves(tmp_path, make_verdict, make_frame):
    frames = [make_frame(seed) for seed in (1, 2)]
    record = make_verdict("a", "NG", [frames[0], None])  # the second picture has no view of its own
    with Ledger.open(tmp_path, KEEP_ALL) as ledger:
        with pytest.raises(LedgerError, match="is not the one that its record names"):
            ledger.commit(record, [Picture(i, frame, None) for i, frame in enumerate(frames)])
        assert files(tmp_path) == []


def test_the_pictures_of_a_commit_that_turned_up_after_all_stay(tmp_path, commit_part, monkeypatch):
    with Ledger.open(tmp_path, KEEP_ALL) as ledger:
        commit_unheard(monkeypatch)
        with pytest.raises(LedgerError, match="did not say"):
            commit_part(ledger, 1)
        monkeypatch.undo()
        assert commit_part(ledger, 2).seq == 2
        assert len(files(tmp_path)) == 4
        assert query(tmp_path, "SELECT verdict FROM verdicts") == [("NO_RESULT",), ("OK",)]
    assert list(verify.check(tmp_path)) == []


def test_a_late_job_that_ends_as_it_is_given_up_does_not_count_as_hanging(
    tmp_path, make_verdict, monkeypatch
):
    disk = HeldDisk(monkeypatch)
    wait = Job.wait

    def wait_and_let_it_end(job, *arguments):
        done = wait(job, *arguments)
        if not done:
            disk.free.set()
            time.sleep(0.3)  # the writer ends the late job and waits for another
        return done

    with Ledger.open(tmp_path, LedgerConfig(commit_timeout_s=0.3)) as ledger:
        disk.free.clear()
        monkeypatch.setattr(Job, "wait", wait_and_let_it_end)
        with pytest.raises(LedgerError, match="did not take a write"):
            ledger.commit(make_verdict("late"))
        assert ledger.commit(make_verdict("after")).seq == 2


def test_a_job_is_abandoned_once_all_is_said_of_that():
    said = []

    def abandon():
        said.append(job.abandoned)
        return LedgerError("late")

    job = Job(lambda connection: None, lambda result: None, lambda error: None)
    assert not job.wait(0.0, abandon)
    assert (said, job.abandoned) == ([False], True), "the writer would go on before it hangs"


def test_a_ledger_that_is_closed_takes_nothing(tmp_path, make_verdict):
    ledger = Ledger.open(tmp_path)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError):
        ledger.commit(make_verdict(1))
    with pytest.raises(LedgerError):
        ledger.audit(AuditEvent("recipe", "me", "x", "y"))
    assert not [t for t in threading.enumerate() if t.name == "zsad-ledger-writer"]


def test_the_configuration_is_plain_values_with_every_key_checked():
    config = from_json(LedgerConfig, {"outbox": {"max_verdicts": 5}}, "line.yaml")
    assert config.outbox.max_verdicts == 5
    assert config.retention == LedgerConfig().retention
    with pytest.raises(InputError, match="unknown key 'max_verdict'"):
        from_json(LedgerConfig, {"outbox": {"max_verdict": 5}}, "line.yaml")
    with pytest.raises(InputError, match="ok_every is -1: choose 0 or more"):
        from_json(LedgerConfig, {"snapshots": {"ok_every": -1}}, "line.yaml")
    with pytest.raises(InputError, match="commit_timeout_s is 0: choose more than 0"):
        LedgerConfig(commit_timeout_s=0)
