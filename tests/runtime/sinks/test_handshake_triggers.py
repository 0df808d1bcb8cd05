"""What a PLC triggers, and which verdict is taken for the answer."""

from fake_plc import Plc

from zsad.line.status import LineState
from zsad.sinks.registers import Flag

READY, BUSY, VALID = Flag.READY, Flag.BUSY, Flag.RESULT_VALID


def test_a_trigger_is_busy_until_its_verdict():
    parts = []
    plc = Plc(trigger=lambda part: parts.append(part) or True)
    plc.handshake.write_holding(2, [1, 2])
    assert plc.handshake.write_trigger(True)
    assert parts == ["65538"]
    assert plc.flags == BUSY
    assert plc.handshake.write_trigger(True), "written again and again, it is one trigger"
    assert parts == ["65538"]
    plc.handshake.write_trigger(False)
    assert not plc.handshake.write_trigger(True), "a busy line takes no trigger"
    plc.commit("NO_RESULT", part="another", triggered=True)
    assert plc.flags == BUSY | VALID | Flag.NO_RESULT
    plc.acknowledge(1)
    plc.commit("OK", part="65538", triggered=True)
    assert plc.flags == VALID | Flag.OK


def test_a_free_running_frame_of_the_same_number_answers_no_trigger():
    plc = Plc(trigger=lambda part: True)
    plc.handshake.write_holding(2, [0, 4711])
    assert plc.handshake.write_trigger(True)
    plc.commit("OK", part="4711")
    assert plc.flags == BUSY | VALID | Flag.OK
    assert plc.part == 0
    plc.acknowledge(1)
    assert plc.flags == BUSY
    plc.commit("NG", part="4711", triggered=True)
    assert plc.flags == VALID | Flag.NG
    assert plc.part == 4711


def test_the_same_id_twice_is_two_parts():
    plc = Plc(trigger=lambda part: True)
    plc.handshake.write_holding(2, [0, 7])
    for _ in range(2):
        assert plc.handshake.write_trigger(True)
        plc.handshake.write_trigger(False)
        assert plc.flags == BUSY
        record = plc.commit("OK", part="7", triggered=True)
        assert plc.flags == VALID | Flag.OK
        plc.acknowledge(record.seq)


def test_busy_ends_when_the_parts_own_verdict_is_on_show():
    """A part without a number is told from others by that alone."""
    plc = Plc(trigger=lambda part: True)
    plc.handshake.write_trigger(True)
    others = plc.commit("OK")
    own = plc.commit("NG", part="plc-1", triggered=True)
    assert plc.flags == BUSY | VALID | Flag.OK
    plc.acknowledge(others.seq)
    assert plc.flags == BUSY
    plc.handshake.show(own)
    assert plc.flags == VALID | Flag.NG


def test_no_trigger_is_taken_before_the_last_result_is_acknowledged():
    plc = Plc(trigger=lambda part: True)
    plc.trigger()
    plc.commit("OK", part="plc-1", triggered=True)
    assert plc.flags == VALID | Flag.OK
    assert not plc.trigger()
    assert plc.flags == VALID | Flag.OK
    plc.acknowledge(1)
    assert plc.flags == READY
    assert plc.trigger()
    assert plc.flags == BUSY


def test_no_trigger_is_taken_while_a_result_waits_behind_another():
    plc = Plc(trigger=lambda part: True)
    first, second = plc.commit("OK"), plc.commit("OK")
    plc.acknowledge(first.seq)
    assert plc.flags == Flag(0)
    assert not plc.trigger()
    plc.handshake.show(second)
    plc.acknowledge(second.seq)
    assert plc.trigger()


def test_a_result_that_the_outbox_gave_up_does_not_hold_up_triggers_for_ever():
    plc = Plc(trigger=lambda part: True, valid_s=5.0)
    first, _ = plc.commit("OK"), plc.commit("OK")
    plc.wait(5.3)
    plc.acknowledge(first.seq)
    assert plc.flags == READY


def test_a_verdict_that_comes_after_its_trigger_was_given_up_is_expired():
    plc = Plc(trigger=lambda part: True, verdict_s=1.0)
    plc.trigger()
    plc.wait(1.2)
    assert plc.flags == READY | Flag.TRIGGER_LOST
    plc.trigger()
    late = plc.commit("OK", part="plc-1", triggered=True)
    assert plc.flags == BUSY | Flag.EXPIRED
    plc.acknowledge(late.seq)
    plc.commit("NG", part="plc-2", triggered=True)
    assert plc.flags == VALID | Flag.NG


def test_a_verdict_whose_trigger_was_lost_by_a_fault_is_expired_after_it():
    plc = Plc(trigger=lambda part: True)
    plc.trigger()
    plc.line.changes = {"state": LineState.FAULT}
    assert plc.flags == Flag.FAULT | Flag.TRIGGER_LOST
    plc.line.changes = {}
    assert plc.flags == READY | Flag.TRIGGER_LOST
    plc.commit("OK", part="plc-1", triggered=True)
    assert plc.flags == Flag.EXPIRED | Flag.TRIGGER_LOST


def test_an_id_is_not_taken_again_while_its_last_verdict_may_still_come():
    plc = Plc(trigger=lambda part: True, verdict_s=1.0)
    plc.handshake.write_holding(2, [0, 7])
    plc.trigger()
    plc.wait(1.2)
    assert not plc.trigger()
    late = plc.commit("OK", part="7", triggered=True)
    assert plc.flags == Flag.EXPIRED | Flag.TRIGGER_LOST
    plc.acknowledge(late.seq)
    assert plc.trigger()
    plc.commit("NG", part="7", triggered=True)
    assert plc.flags == VALID | Flag.NG


def test_an_id_whose_verdict_never_came_can_be_used_again():
    plc = Plc(trigger=lambda part: True, verdict_s=1.0)
    plc.handshake.write_holding(2, [0, 7])
    plc.trigger()
    plc.wait(2.2)
    assert plc.trigger()
    plc.commit("NG", part="7", triggered=True)
    assert plc.flags == VALID | Flag.NG


def test_a_trigger_without_a_verdict_is_given_up_and_said_until_the_next():
    plc = Plc(trigger=lambda part: True, verdict_s=10.0)
    plc.handshake.write_trigger(True)
    plc.handshake.write_trigger(False)
    plc.wait(10.2)
    assert plc.flags == READY | Flag.TRIGGER_LOST
    plc.handshake.write_trigger(True)
    assert plc.flags == BUSY


def test_a_trigger_that_no_camera_takes_is_refused_and_may_be_tried_again():
    answers = [False, True]
    plc = Plc(trigger=lambda part: answers.pop(0))
    assert not plc.handshake.write_trigger(True)
    assert plc.flags == READY
    assert plc.handshake.write_trigger(True)
    assert plc.flags == BUSY


def test_a_trigger_that_fails_is_refused_and_said(caplog):
    def trigger(part):
        raise RuntimeError("camera top is gone")

    plc = Plc(trigger=trigger)
    assert not plc.handshake.write_trigger(True)
    assert plc.flags == READY
    assert "camera top is gone" in caplog.text


def test_a_trigger_during_a_fault_is_refused():
    plc = Plc(trigger=lambda part: True)
    plc.line.changes = {"state": LineState.FAULT}
    plc.now_s += 1
    assert not plc.handshake.write_trigger(True)
    assert plc.flags == Flag.FAULT
