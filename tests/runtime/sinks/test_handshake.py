"""What a PLC is shown of a result, for how long, and how it takes it."""

import pytest
from fake_outbox import make_record, make_view
from fake_plc import Plc

from zsad.line.status import LineState
from zsad.sinks.registers import ACK_EXPIRED, NO_SCORE, Flag, Register

READY, BUSY, VALID = Flag.READY, Flag.BUSY, Flag.RESULT_VALID


@pytest.mark.parametrize(
    ("verdict", "code", "flag"),
    [
        ("OK", 1, Flag.OK),
        ("NG", 2, Flag.NG),
        ("NO_RESULT", 3, Flag.NO_RESULT),
        ("UNCALIBRATED", 4, Flag.NO_RESULT),
    ],
)
def test_a_result_is_one_of_ok_ng_and_no_result(verdict, code, flag):
    plc = Plc()
    assert not plc.handshake.show(make_record(1, verdict, part="4711", triggered=True))
    assert plc.flags == READY | VALID | flag
    image = plc.handshake.image()
    assert image[Register.RESULT] == code
    assert image[Register.SCORE] == (NO_SCORE if verdict == "NO_RESULT" else 2500)
    assert image[Register.THRESHOLD] == 5000
    assert image[Register.PART : Register.PART + 2] == [0, 4711]


def test_after_a_debounce_the_score_is_that_of_the_view_that_the_ledger_names():
    """No view says what the part's verdict says: it was held back."""
    plc = Plc()
    views = (make_view("NG", 0.75), make_view("NG", 0.5))
    plc.handshake.show(make_record(1, "OK", views=views))
    image = plc.handshake.image()
    assert (image[Register.SCORE], image[Register.THRESHOLD]) == (7500, 5000)


def test_what_a_types_own_threshold_made_ng_is_shown_with_that_threshold():
    plc = Plc()
    types = {"scratch": 0.125, "dent": 0.375}
    view = make_view("NG", types=types, defect="dent", defect_threshold=0.25)
    plc.handshake.show(make_record(1, "NG", views=(view,)))
    image = plc.handshake.image()
    assert (image[Register.SCORE], image[Register.THRESHOLD]) == (3750, 2500)


def test_nothing_is_on_show_before_the_first_result():
    assert Plc().flags == READY


def test_a_result_stays_until_its_own_id_is_written():
    plc = Plc()
    plc.handshake.show(make_record(70_000, "NG"))
    assert plc.result_id == 70_000
    for wrong in (0, 1, 69_999, 70_001, ACK_EXPIRED):
        plc.acknowledge(wrong)
        assert plc.flags & VALID
    plc.acknowledge(70_000)
    assert plc.flags == READY
    assert plc.handshake.wait_acknowledged(70_000, 0)
    assert plc.handshake.image()[Register.ACK_ECHO : Register.ACK_ECHO + 2] == [1, 4464]


def test_a_result_is_never_overwritten():
    plc = Plc()
    plc.handshake.show(make_record(1, "NG"))
    assert not plc.handshake.show(make_record(2, "OK"))
    assert plc.result_id == 1 and plc.flags & Flag.NG
    plc.acknowledge(1)
    assert not plc.handshake.show(make_record(2, "OK"))
    assert plc.result_id == 2 and plc.flags & Flag.OK


def test_an_acknowledged_result_is_not_shown_again():
    """As when the ledger could not keep the acknowledgement."""
    plc = Plc()
    plc.handshake.show(make_record(1))
    plc.acknowledge(1)
    assert plc.handshake.show(make_record(1))
    assert plc.flags == READY


def test_words_that_are_written_one_by_one_acknowledge_nothing_in_between():
    plc = Plc()
    plc.handshake.show(make_record(0x1_0001))
    plc.handshake.write_holding(0, [1])
    assert plc.flags & VALID
    plc.handshake.write_holding(1, [1])
    assert not plc.flags & VALID


def test_a_result_that_nobody_takes_expires_and_says_so():
    plc = Plc(valid_s=5.0)
    plc.handshake.show(make_record(1, "OK"))
    plc.wait(4.8)
    assert plc.flags == READY | VALID | Flag.OK
    plc.wait(0.3)
    assert plc.flags == Flag.EXPIRED
    assert plc.result_id == 1
    image = plc.handshake.image()
    assert image[Register.RESULT] == image[Register.SCORE] == 0
    plc.acknowledge(1)
    assert plc.flags == READY


@pytest.mark.parametrize("state", [LineState.STARTING, LineState.FAULT, LineState.STOPPING])
def test_a_fault_takes_a_result_back_for_good(state):
    plc = Plc()
    plc.handshake.show(make_record(1, "OK"))
    plc.line.changes = {"state": state}
    assert plc.flags == Flag.FAULT | Flag.EXPIRED
    plc.line.changes = {}
    assert plc.flags == Flag.EXPIRED, "what was doubted once is not good again"
    plc.acknowledge(1)
    plc.handshake.show(make_record(2, "OK"))
    assert plc.flags == READY | VALID | Flag.OK


def test_what_waited_during_a_fault_is_not_good_after_it():
    plc = Plc()
    for verdict in ("OK", "OK"):
        plc.outbox.commit(verdict)
    plc.handshake.show(plc.outbox.records[0])
    assert plc.flags & Flag.OK
    plc.line.changes = {"state": LineState.FAULT}
    assert plc.flags & Flag.FAULT
    plc.line.changes = {}
    plc.acknowledge(1)
    plc.handshake.show(plc.outbox.records[1])
    assert plc.flags == Flag.EXPIRED
    plc.acknowledge(2)
    plc.handshake.show(plc.outbox.commit("OK"))
    assert plc.flags == READY | VALID | Flag.OK


def test_an_id_that_was_written_too_early_acknowledges_nothing():
    plc = Plc()
    plc.acknowledge(1)
    assert not plc.handshake.show(make_record(1, "NG"))
    plc.handshake.write_holding(2, [0, 4711])
    assert plc.flags == READY | VALID | Flag.NG
    plc.acknowledge(1)
    assert plc.flags == READY


def test_a_degraded_line_still_judges():
    plc = Plc()
    plc.line.changes = {"state": LineState.DEGRADED, "reasons": ("fallback backend",)}
    assert plc.flags == READY
    assert plc.handshake.image()[Register.STATE] == 3


def test_an_engine_that_hangs_is_a_fault_though_the_line_calls_itself_running():
    plc = Plc()
    plc.handshake.show(make_record(1, "OK"))
    plc.line.hangs = True
    plc.wait(2.8)
    assert plc.flags & VALID
    beat = plc.handshake.image()[Register.HEARTBEAT]
    plc.wait(0.5)
    assert plc.flags == Flag.FAULT | Flag.EXPIRED
    assert plc.handshake.image()[Register.HEARTBEAT] == beat


def test_a_line_that_does_not_answer_is_a_fault():
    plc = Plc()
    plc.line.fails = RuntimeError("deadlock")
    assert plc.flags == Flag.FAULT
    assert plc.handshake.image()[Register.STATE] == 0


def test_an_earlier_runs_result_is_expired_from_the_first_moment():
    plc = Plc(first_seq=10)
    plc.handshake.show(make_record(9, "OK"))
    assert plc.flags == Flag.EXPIRED
    plc.acknowledge(9)
    plc.handshake.show(make_record(10, "OK"))
    assert plc.flags & VALID


def test_a_result_that_waited_behind_another_is_as_old_as_it_is():
    plc = Plc(valid_s=5.0)
    plc.outbox.commit("OK")
    plc.outbox.commit("OK")
    plc.handshake.show(plc.outbox.records[0])
    plc.wait(5.3)
    plc.outbox.commit("NG")
    plc.wait(0.2)
    plc.acknowledge(1)
    plc.handshake.show(plc.outbox.records[1])
    assert plc.flags == Flag.EXPIRED
    plc.acknowledge(2)
    plc.handshake.show(plc.outbox.records[2])
    assert plc.flags == READY | VALID | Flag.NG


def test_one_order_passes_over_everything_that_expired_and_nothing_else():
    plc = Plc(first_seq=4)
    plc.handshake.show(make_record(1))
    plc.acknowledge(ACK_EXPIRED)
    assert plc.handshake.show(make_record(2))
    assert plc.handshake.show(make_record(3))
    assert not plc.handshake.show(make_record(4, "NG"))
    assert plc.flags == READY | VALID | Flag.NG


def test_a_dry_run_is_shown_to_no_plc():
    plc = Plc()
    assert plc.handshake.show(make_record(1, "OK", dry_run=True))
    assert plc.flags == READY


def test_a_late_record_is_shown_to_no_plc_and_holds_up_no_trigger():
    plc = Plc(trigger=lambda part: True)
    late = [make_record(seq, "NO_RESULT", late=True) for seq in (1, 2)]
    plc.handshake.notice(late)
    assert plc.flags == READY
    assert all(plc.handshake.show(record) for record in late)
    assert plc.flags == READY


def test_a_plc_that_still_waits_for_the_part_is_shown_its_late_record():
    plc = Plc(trigger=lambda part: True)
    plc.trigger()
    late = plc.commit("NO_RESULT", part="plc-1", triggered=True, late=True)
    assert plc.flags == VALID | Flag.NO_RESULT
    plc.acknowledge(late.seq)
    assert plc.flags == READY
