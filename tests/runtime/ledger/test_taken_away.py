"""A ledger in use whose files are deleted, moved or replaced, or that others write to."""

import shutil

import pytest
from ledger_rig import query
from waiting import wait_until

from zsad.errors import InputError
from zsad.ledger import Ledger, LedgerError
from zsad.ledger.database import FILE
from zsad.ledger.held import LOCK

GONE = r"was deleted, moved or replaced under the running line"


def told(ledger, sink="plc"):
    return [(record.seq, record.part, record.verdict) for record in ledger.pending(sink, 10)]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "ledger"


@pytest.fixture
def ledger(folder):
    """A ledger in `folder` with a consumer `plc`."""
    with Ledger.open(folder) as opened:
        opened.register("plc")
        yield opened
        opened.close(deadline_s=0.5)  # where the files are gone, waiting for them is no use


def test_a_deleted_database_takes_no_verdict_and_is_not_made_anew(folder, ledger, make_verdict):
    ledger.commit(make_verdict("a"))
    for path in folder.glob(f"{FILE}*"):
        path.unlink()
    for _ in range(2):
        with pytest.raises(LedgerError, match=f"{FILE} {GONE}"):
            ledger.commit(make_verdict("b"))
        with pytest.raises(LedgerError, match=f"{FILE} {GONE}"):
            ledger.pending("plc", 10)
    assert ledger.newest == 1
    assert not (folder / FILE).exists()


@pytest.mark.parametrize("name", [FILE, LOCK])
def test_a_file_that_is_away_is_a_fault_without_a_commit_and_until_it_is_back(
    folder, ledger, make_verdict, name
):
    ledger.commit(make_verdict("a"))
    (folder / name).rename(folder / "aside")
    wait_until(lambda: ledger.fault is not None)
    assert name in ledger.fault
    with pytest.raises(LedgerError, match=GONE):
        ledger.commit(make_verdict("b"))
    (folder / "aside").rename(folder / name)
    wait_until(lambda: ledger.fault is None)
    assert ledger.commit(make_verdict("c")).seq == 3
    assert told(ledger) == [(1, "a", "OK"), (2, "b", "NO_RESULT"), (3, "c", "OK")]


def test_what_is_taken_away_during_a_commit_is_not_acknowledged(
    folder, ledger, make_verdict, monkeypatch
):
    from zsad.ledger import journal as module

    insert = module.rows.insert

    def meanwhile(*arguments):
        insert(*arguments)
        (folder / FILE).rename(folder / "aside")

    monkeypatch.setattr(module.rows, "insert", meanwhile)
    with pytest.raises(LedgerError, match=GONE):
        ledger.commit(make_verdict("a"))
    monkeypatch.undo()
    (folder / "aside").rename(folder / FILE)
    wait_until(lambda: ledger.fault is None)
    assert told(ledger) == [(1, "a", "NO_RESULT")]  # as the line was told


def test_a_daemon_whose_lock_was_deleted_leaves_the_ledger_to_the_next(
    folder, ledger, make_verdict
):
    ledger.commit(make_verdict("a"))
    (folder / LOCK).unlink()
    with Ledger.open(folder) as second:
        second.register("mqtt")
        second.commit(make_verdict("b"))
        with pytest.raises(LedgerError, match=f"{LOCK} {GONE}"):
            ledger.commit(make_verdict("c"))
        wait_until(lambda: ledger.fault is not None)
        assert told(second, "mqtt") == [(2, "b", "OK")]
    assert query(folder, "SELECT part, verdict FROM verdicts") == [("a", "OK"), ("b", "OK")]


def test_a_daemon_whose_folder_was_replaced_leaves_the_new_one_alone(folder, ledger, make_verdict):
    ledger.commit(make_verdict("a"))
    folder.rename(folder.with_name("moved"))
    shutil.copytree(folder.with_name("moved"), folder)
    with Ledger.open(folder) as second:
        for part in "bcd":
            second.commit(make_verdict(part))
        with pytest.raises(LedgerError, match=GONE):
            ledger.commit(make_verdict("x"))
        with pytest.raises(LedgerError, match=GONE):
            ledger.pending("plc", 10)
        assert second.commit(make_verdict("e")).seq == 5
    parts = query(folder, "SELECT part, verdict FROM verdicts")
    assert parts == [(part, "OK") for part in "abcde"]


@pytest.mark.parametrize("names", [["-wal"], ["-shm"], ["-wal", "-shm"]])
def test_a_deleted_log_costs_one_commit_and_no_verdict(folder, make_verdict, monkeypatch, names):
    monkeypatch.setattr("zsad.ledger.writer._UPKEEP_EVERY_S", 60.0)  # which would mend it as well
    with Ledger.open(folder) as ledger:
        ledger.register("plc")
        for part in "ab":
            ledger.commit(make_verdict(part))
        assert len(told(ledger)) == 2  # the consumer reads the log as well
        for name in names:
            (folder / f"{FILE}{name}").unlink()
        with pytest.raises(LedgerError, match=f"{FILE}{names[0]} {GONE}"):
            ledger.commit(make_verdict("refused"))
        with pytest.raises(LedgerError, match="opened anew"):  # nor opened too early
            ledger.pending("plc", 10)
        assert ledger.commit(make_verdict("c")).seq == 4
        assert told(ledger)[1:] == [(2, "b", "OK"), (3, "refused", "NO_RESULT"), (4, "c", "OK")]
    parts = query(folder, "SELECT part FROM verdicts ORDER BY seq")
    assert parts == [("a",), ("b",), ("refused",), ("c",)]


def test_a_number_that_was_told_is_not_given_again(folder, ledger, make_verdict):
    for part in "abc":
        ledger.commit(make_verdict(part))
    ledger.acknowledge("plc", 2)
    query(folder, "DELETE FROM verdicts WHERE seq > 1")
    wait_until(lambda: ledger.fault is not None)
    for _ in range(2):
        with pytest.raises(LedgerError, match="verdicts 2 to 3 are gone"):
            ledger.commit(make_verdict("d"))
    assert (ledger.newest, ledger.backlog("plc")) == (3, 1)


def test_a_ledger_without_what_was_acknowledged_is_refused_at_the_start(folder, make_verdict):
    with Ledger.open(folder) as ledger:
        ledger.register("plc")
        for part in "abc":
            ledger.commit(make_verdict(part))
        ledger.acknowledge("plc", 3)
    query(folder, "DELETE FROM verdicts WHERE seq > 1")
    with pytest.raises(InputError, match="verdicts 2 to 3 are gone"):
        Ledger.open(folder)
    query(folder, "DELETE FROM sinks")
    Ledger.open(folder).close()


def insert_copy(folder, seq, part):
    """Add a verdict as another program would, with the columns of the newest one."""
    names = [row[1] for row in query(folder, "PRAGMA table_info(verdicts)")][3:]
    row = f"SELECT ?, line, ?, {', '.join(names)} FROM verdicts ORDER BY seq DESC LIMIT 1"
    query(folder, f"INSERT INTO verdicts {row}", seq, part)


def test_a_verdict_of_another_program_is_a_fault_and_left_as_it_is(folder, ledger, make_verdict):
    ledger.commit(make_verdict("a"))
    insert_copy(folder, 2, "foreign")
    wait_until(lambda: ledger.fault is not None)
    for _ in range(2):
        with pytest.raises(LedgerError, match="verdict 2 is another program's"):
            ledger.commit(make_verdict("b"))
    assert told(ledger) == [(1, "a", "OK")]
    rows = query(folder, "SELECT seq, part, verdict FROM verdicts")
    assert rows == [(1, "a", "OK"), (2, "foreign", "OK")]


def test_a_consumer_is_refused_rather_than_told_nothing(folder, make_verdict, monkeypatch):
    monkeypatch.setattr("zsad.ledger.writer._UPKEEP_EVERY_S", 60.0)  # the reader is to notice it
    with Ledger.open(folder) as ledger:
        ledger.register("plc")
        for part in "ab":
            ledger.commit(make_verdict(part))
        query(folder, "DELETE FROM verdicts WHERE seq = 2")
        ledger.acknowledge("plc", 1)
        with pytest.raises(LedgerError, match="verdict 2 is not in it"):
            ledger.pending("plc", 10)
