"""What becomes of verdicts that the ledger did not take: a row each, never the verdict itself."""

import logging
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from fake_outbox import make_view
from ledger_rig import commit_unheard, query
from waiting import wait_until

from zsad.ledger import Ledger, LedgerConfig, LedgerError, verify
from zsad.ledger.audit import rows as audit_rows
from zsad.ledger.database import FILE
from zsad.ledger.missed import TOO_LATE, Missed

CONFIG = LedgerConfig(commit_timeout_s=0.3)

HOLD = """\
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


class Lock:
    """Another process that holds the database's lock until `free`."""

    def __init__(self, folder):
        command = [sys.executable, "-c", HOLD, str(folder / FILE)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "locked\n"

    def free(self):
        self.process.communicate("\n")


@pytest.fixture
def lock(tmp_path):
    """Return `lock()`, which locks the ledger in `tmp_path` until the test or `free` ends it."""
    locks = []

    def make():
        locks.append(Lock(tmp_path))
        return locks[-1]

    yield make
    for each in locks:
        each.process.kill()
        each.process.communicate()


def refuse(ledger, *records):
    for record in records:
        with pytest.raises(LedgerError):
            ledger.commit(record)


def test_a_locked_ledger_has_a_row_for_every_part_of_that_time(tmp_path, lock, make_verdict):
    with Ledger.open(tmp_path, CONFIG) as ledger:
        ledger.register("mes")
        ledger.commit(make_verdict("before"))
        held = lock()
        refuse(ledger, make_verdict("a", "OK"), make_verdict("b", "NG"), make_verdict("c", "OK"))
        assert [record.part for record in ledger.pending("mes", 10)] == ["before"]
        held.free()
        wait_until(lambda: ledger.newest == 4)  # by itself, without a commit
        assert ledger.commit(make_verdict("after")).seq == 5
        told = ledger.pending("mes", 10)
    found = query(tmp_path, "SELECT seq, part, verdict, score FROM verdicts ORDER BY seq")
    assert found == [
        (1, "before", "OK", 0.25),
        (2, "a", "NO_RESULT", 0.25),
        (3, "b", "NO_RESULT", 0.25),
        (4, "c", "NO_RESULT", 0.25),
        (5, "after", "OK", 0.25),
    ]
    reasons = [reason for (reason,) in query(tmp_path, "SELECT reason FROM verdicts ORDER BY seq")]
    assert all(reason.startswith(TOO_LATE) and "locked" in reason for reason in reasons[1:4])
    assert [(each.part, each.late) for each in told] == [
        ("before", False),
        *(("a", True), ("b", True), ("c", True)),
        ("after", False),
    ]
    assert [each.verdict for each in told[1:4]] == ["NO_RESULT"] * 3, "and never a late OK"
    assert list(verify.check(tmp_path)) == []


def test_the_first_commit_after_a_lock_comes_after_what_was_missed(
    tmp_path, lock, make_verdict, monkeypatch
):
    monkeypatch.setattr("zsad.ledger.writer._UPKEEP_EVERY_S", 60.0)
    with Ledger.open(tmp_path, CONFIG) as ledger:
        held = lock()
        refuse(ledger, make_verdict("a"), make_verdict("b"))
        held.free()
        assert ledger.commit(make_verdict("after")).seq == 3
    assert query(tmp_path, "SELECT part FROM verdicts ORDER BY seq") == [("a",), ("b",), ("after",)]


def test_a_lock_holds_up_one_commit_and_no_other_while_it_lasts(tmp_path, lock, make_verdict):
    with Ledger.open(tmp_path, LedgerConfig(commit_timeout_s=3.0)) as ledger:
        held, begin_s = lock(), time.monotonic()
        refuse(ledger, make_verdict("first"))
        assert time.monotonic() - begin_s >= 1.0, "a lock that is short costs nothing"
        begin_s = time.monotonic()
        refuse(ledger, *(make_verdict(part) for part in range(5)))
        assert time.monotonic() - begin_s < 2.0
        held.free()
        wait_until(lambda: ledger.newest == 6)
        short = lock()
        timer = threading.Timer(0.4, short.free)
        timer.start()
        assert ledger.commit(make_verdict("waits")).seq == 7, "it is patient again"
        timer.join()


def test_a_stop_waits_for_a_lock_to_write_what_was_missed(tmp_path, lock, make_verdict):
    ledger = Ledger.open(tmp_path, CONFIG)
    held = lock()
    refuse(ledger, make_verdict("a"))
    timer = threading.Timer(0.7, held.free)
    timer.start()
    ledger.close()
    timer.join()
    assert query(tmp_path, "SELECT part, verdict FROM verdicts ORDER BY seq") == [
        ("a", "NO_RESULT")
    ]


def test_a_stop_under_a_lock_that_stays_ends_in_time_and_says_what_is_lost(
    tmp_path, lock, make_verdict, caplog
):
    ledger = Ledger.open(tmp_path, CONFIG)
    lock()
    refuse(ledger, make_verdict("a"), make_verdict("b"))
    begin_s = time.monotonic()
    with caplog.at_level(logging.ERROR):
        ledger.close(deadline_s=1.0)
    assert time.monotonic() - begin_s < 2.0
    assert "2 verdicts that were refused have no row" in caplog.text
    assert query(tmp_path, "SELECT part FROM verdicts ORDER BY seq") == []


def test_a_stop_that_has_no_time_left_begins_all_the_same(tmp_path, make_verdict):
    ledger = Ledger.open(tmp_path, CONFIG)
    ledger.commit(make_verdict("a"))
    ledger.close(deadline_s=0.0)
    ledger.close()
    with Ledger.open(tmp_path, CONFIG) as again:
        assert again.newest == 1


def test_more_than_can_be_kept_is_one_row_of_the_audit_with_their_number(
    tmp_path, lock, make_verdict
):
    with Ledger.open(tmp_path, CONFIG) as ledger:
        ledger._journal.missed = Missed(bound=2)
        held = lock()
        refuse(ledger, *(make_verdict(part) for part in "abcde"))
        held.free()
        wait_until(lambda: ledger.newest == 2)
        ledger.commit(make_verdict("after"))
    assert query(tmp_path, "SELECT part FROM verdicts ORDER BY seq") == [("a",), ("b",), ("after",)]
    connection = sqlite3.connect(tmp_path / FILE)
    (row,) = audit_rows(connection)
    connection.close()
    utc = make_verdict("c").decided_utc
    assert (row.kind, row.what) == ("service", f"3 verdicts have no row: decided {utc} to {utc}")


def test_thousands_are_written_a_part_at_a_time_and_a_commit_waits_for_one_part(
    tmp_path, make_verdict, monkeypatch
):
    monkeypatch.setattr("zsad.ledger.writer._UPKEEP_EVERY_S", 60.0)
    with Ledger.open(tmp_path) as ledger:
        for part in range(500):
            ledger._journal.missed.add(make_verdict(part), "the disk is full")
        assert ledger.commit(make_verdict("live")).seq == 201
    found = query(tmp_path, "SELECT part FROM verdicts ORDER BY seq")
    assert found[:200] == [(str(part),) for part in range(200)]
    assert found[201:] == [(str(part),) for part in range(200, 500)]


def test_one_that_turns_up_after_all_has_one_row(tmp_path, make_verdict, monkeypatch):
    with Ledger.open(tmp_path, CONFIG) as ledger:
        with monkeypatch.context() as patch:
            commit_unheard(patch)
            refuse(ledger, make_verdict("a"))
            wait_until(lambda: ledger.newest == 1)
            refuse(ledger, make_verdict("b"))
        assert ledger.commit(make_verdict("c")).seq == 3
    found = query(tmp_path, "SELECT part, verdict FROM verdicts ORDER BY seq")
    assert found == [("a", "NO_RESULT"), ("b", "NO_RESULT"), ("c", "OK")]


def test_one_that_turns_up_after_all_has_the_columns_of_what_it_says_now(
    tmp_path, make_verdict, monkeypatch
):
    views = (make_view("NG", 0.5, camera="side"), make_view("OK", 0.75, camera="top"))
    with Ledger.open(tmp_path, CONFIG) as ledger:
        with monkeypatch.context() as patch:
            commit_unheard(patch)
            refuse(ledger, replace(make_verdict("a", "NG"), views=views))
            wait_until(lambda: ledger.newest == 1)
        assert list(verify.check(tmp_path)) == []


def test_missed_rows_that_turn_up_after_all_are_not_written_twice(
    tmp_path, make_verdict, monkeypatch
):
    from zsad.ledger import rows

    insert = rows.insert

    def fail_afterwards(connection, record, *arguments):
        insert(connection, record, *arguments)
        if record.part == "b":
            connection.execute("COMMIT")
            raise OSError("the disk did not say that it had it")

    monkeypatch.setattr("zsad.ledger.writer._UPKEEP_EVERY_S", 60.0)
    with Ledger.open(tmp_path, CONFIG) as ledger:
        for part in "ab":
            ledger._journal.missed.add(make_verdict(part), "the disk is full")
        with monkeypatch.context() as patch:
            patch.setattr(rows, "insert", fail_afterwards)
            refuse(ledger, make_verdict("c"))
        ledger.commit(make_verdict("d"))
    found = query(tmp_path, "SELECT part, verdict, reason FROM verdicts ORDER BY seq")
    assert [row[:2] for row in found] == [*((p, "NO_RESULT") for p in "abc"), ("d", "OK")]
    assert "the disk is full" in found[0][2], "the reason that it was missed for"


def test_a_row_of_another_program_does_not_pass_for_missed_rows_that_failed(
    tmp_path, make_verdict, monkeypatch
):
    from zsad.ledger import rows

    def fail(*arguments):
        raise OSError("the disk is full")

    monkeypatch.setattr("zsad.ledger.writer._UPKEEP_EVERY_S", 60.0)
    with Ledger.open(tmp_path, CONFIG) as ledger:
        ledger.commit(make_verdict("first"))
        for part in "ab":
            ledger._journal.missed.add(make_verdict(part), "the disk is full")
        with monkeypatch.context() as patch:
            patch.setattr(rows, "insert", fail)
            refuse(ledger, make_verdict("c"))
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("CREATE TEMP TABLE copy AS SELECT * FROM verdicts")
        other.execute("UPDATE copy SET seq = 2, part = 'foreign'")
        other.execute("INSERT INTO verdicts SELECT * FROM copy")
        with pytest.raises(LedgerError, match="verdict 2 is another program's"):
            ledger.commit(make_verdict("d"))
        other.execute("DELETE FROM verdicts WHERE seq = 2")
        other.close()
        ledger.commit(make_verdict("e"))
    found = query(tmp_path, "SELECT part FROM verdicts ORDER BY seq")
    assert [part for (part,) in found] == ["first", *"abcde"]


def test_what_no_row_can_hold_does_not_hold_up_the_others(tmp_path, make_verdict):
    with Ledger.open(tmp_path, CONFIG) as ledger:
        refuse(ledger, make_verdict("a", score=float("nan")))
        assert ledger.commit(make_verdict("b")).seq == 2
    found = query(tmp_path, "SELECT part, verdict, camera FROM verdicts ORDER BY seq")
    assert found == [("a", "NO_RESULT", None), ("b", "OK", "top")]


def test_what_is_counted_while_a_count_is_written_is_counted_once(make_verdict):
    missed = Missed(bound=0)
    missed.add(make_verdict("a"), "full")
    first = missed.next(10)
    missed.add(make_verdict("b"), "full")
    missed.settle(first)
    second = missed.next(10)
    assert (first.beyond.count, second.beyond.count) == (1, 1)
    missed.settle(second)
    assert missed.next(10) is None


def test_the_audit_says_why_those_without_a_row_have_none(make_verdict):
    """Either there were too many, or what one says is nothing that a row can hold."""
    unfit = replace(make_verdict("a"), capture_to_verdict_ms=float("inf"))
    missed = Missed(bound=1)
    missed.add(unfit, "full")
    attempt = missed.next(1)
    too_many = Missed(bound=0)
    too_many.add(make_verdict("b"), "full")
    not_json = "what they say is not JSON, so that no row can hold it"
    waited = "the ledger could not be written while 10000 others waited for it"
    assert attempt.beyond.event().reason == f"{not_json}; nobody was told of them"
    assert too_many.next(1).beyond.event().reason == f"{waited}; nobody was told of them"
    for part in "cd":
        missed.add(make_verdict(part), "full")
    both = missed.next(1).beyond.event()
    assert both.what.startswith("2 verdicts have no row")
    assert both.reason == f"of 1, {not_json}; for the others, {waited}; nobody was told of them"
    missed.settle(attempt)
    late = missed.next(1).beyond
    assert (late.count, late.unfit) == (1, 0)


def test_why_a_verdict_was_refused_is_told_without_credentials(make_verdict):
    missed = Missed()
    missed.add(make_verdict("a"), "//nas://op:secret@shelf/x cannot be written")
    (row,) = missed.next(1).rows
    assert row.reason.endswith("(//nas://***@shelf/x cannot be written)")
