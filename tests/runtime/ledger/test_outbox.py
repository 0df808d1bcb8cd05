import sqlite3

import pytest
from waiting import wait_until

from zsad.errors import InputError
from zsad.ledger import Gap, Ledger, LedgerConfig, OutboxConfig, gap_of
from zsad.ledger.database import FILE, open_to_read
from zsad.ledger.rows import records


def numbers(told):
    return [record.seq for record in told]


def fill(ledger, make_verdict, count):
    for part in range(count):
        ledger.commit(make_verdict(part))


def test_each_consumer_has_a_cursor_of_its_own(tmp_path, make_verdict):
    with Ledger.open(tmp_path) as ledger:
        ledger.register("mqtt")
        ledger.register("plc")
        fill(ledger, make_verdict, 5)
        assert numbers(ledger.pending("mqtt", 2)) == [1, 2]
        assert numbers(ledger.pending("mqtt", 2)) == [1, 2]  # until it is acknowledged
        ledger.acknowledge("mqtt", 2)
        ledger.acknowledge("mqtt", 1)  # late, and no way back
        assert numbers(ledger.pending("mqtt", 10)) == [3, 4, 5]
        assert (ledger.backlog("mqtt"), ledger.backlog("plc")) == (3, 5)
        ledger.acknowledge("mqtt", 99)
        assert ledger.pending("mqtt", 10) == []
        assert ledger.backlog("mqtt") == 0
        with pytest.raises(InputError, match="'opc' is not registered"):
            ledger.pending("opc", 1)


def test_a_restart_goes_on_where_a_consumer_was_and_a_new_one_begins_with_what_comes(
    tmp_path, make_verdict
):
    with Ledger.open(tmp_path) as ledger:
        ledger.register("mqtt")
        fill(ledger, make_verdict, 3)
        ledger.acknowledge("mqtt", 1)
    with Ledger.open(tmp_path) as ledger:
        ledger.register("mqtt")
        ledger.register("new")
        assert numbers(ledger.pending("mqtt", 10)) == [2, 3]
        assert ledger.pending("new", 10) == []
        ledger.commit(make_verdict(4))
        assert numbers(ledger.pending("new", 10)) == [4]


def test_acknowledgements_reach_the_disk_by_themselves_with_their_time(tmp_path, make_verdict):
    with Ledger.open(tmp_path) as ledger:
        ledger.register("mqtt")
        fill(ledger, make_verdict, 3)
        ledger.acknowledge("mqtt", 2)

        def stored():
            connection = sqlite3.connect(tmp_path / FILE)
            found = connection.execute(
                "SELECT first_seq, last_seq, acknowledged_utc FROM acknowledgements"
            ).fetchall()
            connection.close()
            return found

        wait_until(stored)
        first, last, utc = stored()[0]
        assert (first, last) == (1, 2)
        assert utc.endswith("+00:00")


def test_a_consumer_that_falls_behind_sees_a_gap_and_never_silence(tmp_path, make_verdict):
    config = LedgerConfig(outbox=OutboxConfig(max_verdicts=3))
    with Ledger.open(tmp_path, config) as ledger:
        ledger.register("mqtt")
        fill(ledger, make_verdict, 7)
        told = ledger.pending("mqtt", 10)
        assert numbers(told) == [4, 5, 6, 7]
        assert gap_of(told[0]) == Gap(1, 4)
        assert (told[0].verdict, told[0].line) == ("NO_RESULT", "housing")
        assert [gap_of(record) for record in told[1:]] == [None] * 3
        assert numbers(ledger.pending("mqtt", 1)) == [4]
        ledger.acknowledge("mqtt", 4)
        assert numbers(ledger.pending("mqtt", 10)) == [5, 6, 7]
    connection = open_to_read(tmp_path / FILE)
    audit = connection.execute("SELECT kind, what FROM audit").fetchall()
    assert audit == [("outbox", "sink 'mqtt' was not told verdicts 1 to 4")]
    assert len(list(records(connection, 1, 10))) == 7  # the ledger itself keeps them
    connection.close()


def test_verdicts_too_old_to_matter_are_a_gap(tmp_path, make_verdict, clocks):
    config = LedgerConfig(outbox=OutboxConfig(max_age_h=1.0))
    with Ledger.open(tmp_path, config, clocks) as ledger:
        ledger.register("mqtt")
        fill(ledger, make_verdict, 2)
        clocks.advance(3000)
        fill(ledger, make_verdict, 1)
        assert numbers(ledger.pending("mqtt", 10)) == [1, 2, 3]
        clocks.advance(700)
        told = ledger.pending("mqtt", 10)
        assert gap_of(told[0]) == Gap(1, 2)
        assert numbers(told) == [2, 3]
        clocks.advance(3600)
        told = ledger.pending("mqtt", 10)
        assert [gap_of(record) for record in told] == [Gap(1, 3)]
        ledger.acknowledge("mqtt", 3)
        assert ledger.backlog("mqtt") == 0


def test_a_row_that_nobody_can_read_blocks_no_consumer(tmp_path, make_verdict, caplog):
    with Ledger.open(tmp_path) as ledger:
        ledger.register("mqtt")
        fill(ledger, make_verdict, 3)
        connection = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        connection.execute("""UPDATE verdicts SET record = '{"from": "tomorrow"}' WHERE seq = 2""")
        connection.close()
        told = ledger.pending("mqtt", 10)
    assert [gap_of(record) for record in told] == [None, Gap(2, 2), None]
    assert "verdict 2" in caplog.text
