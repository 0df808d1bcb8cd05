"""The courier on a sink that does what the test says."""

import threading
import time

import pytest
from fake_outbox import FakeOutbox

from zsad.backoff import Backoff, BackoffConfig
from zsad.errors import ZsadError
from zsad.sinks import place
from zsad.sinks.base import RefusedError, SinkCause, SinkError, committed_head
from zsad.sinks.courier import Courier, stop_couriers

QUICK = BackoffConfig(first_s=0.01, cap_s=0.02)


class ScriptedSink:
    """Takes everything, unless `answer(records)` says otherwise."""

    name = "scripted"

    def __init__(self, answer=len):
        self.answer = answer
        self.seen = []
        self.given = []
        self.opened = 0
        self.closed = threading.Event()

    def open(self):
        self.opened += 1

    def deliver(self, records):
        self.given.append([record.seq for record in records])
        taken = self.answer(records)
        self.seen += [record.seq for record in records[:taken]]
        return taken

    def close(self):
        self.closed.set()


@pytest.fixture
def carry():
    """Return `carry(sink, outbox, **options)`: a started courier, stopped at the end."""
    couriers = []

    def start(sink, outbox, **options):
        courier = Courier(sink, outbox, QUICK, **options)
        courier.start()
        couriers.append(courier)
        return courier

    yield start
    for courier in couriers:
        assert courier.stop(5.0)


def test_everything_arrives_in_order_and_is_accounted(carry, until):
    outbox, sink, told = FakeOutbox(), ScriptedSink(), []
    for _ in range(40):
        outbox.commit()
    before_s = time.monotonic()
    courier = carry(
        sink, outbox, on_acknowledged=lambda name, record, at_s: told.append((record.seq, at_s))
    )
    for _ in range(40):
        outbox.commit()
    until(lambda: courier.health.delivered == 80)
    assert sink.seen == list(range(1, 81))
    assert [seq for seq, _ in told] == sink.seen
    assert all(before_s <= at_s <= time.monotonic() for _, at_s in told)
    until(lambda: courier.health.backlog == 0)
    assert courier.health.up and courier.health.detail == "delivering"


def test_a_sink_that_is_down_loses_nothing_and_says_why(carry, until):
    outbox, down = FakeOutbox(), threading.Event()
    down.set()

    def answer(records):
        if down.is_set():
            raise SinkError(SinkCause.AUTH, "mqtt://user:pass@plant says no")
        return len(records)

    sink = ScriptedSink(answer)
    courier = carry(sink, outbox)
    outbox.commit()
    outbox.commit()
    until(lambda: courier.health.backlog == 2 and not courier.health.up)
    assert courier.health.detail == "auth: mqtt://***@plant says no"
    down.clear()
    until(lambda: courier.health.up and courier.health.delivered == 2)
    assert sink.seen == [1, 2]


def test_a_partly_taken_batch_goes_on_where_it_stopped(carry, until):
    outbox = FakeOutbox()
    for _ in range(5):
        outbox.commit()
    sink = ScriptedSink(lambda records: min(2, len(records)))
    courier = carry(sink, outbox)
    until(lambda: courier.health.delivered == 5)
    assert sink.given == [[1, 2, 3, 4, 5], [3, 4, 5], [5]]


def test_the_outbox_is_not_read_anew_for_every_record(carry, until):
    outbox, asked = FakeOutbox(), []
    pending = outbox.pending
    outbox.pending = lambda sink, limit: asked.append(sink) or pending(sink, limit)
    for _ in range(32):
        outbox.commit()
    courier = carry(ScriptedSink(lambda records: 1), outbox)
    until(lambda: courier.health.delivered == 32)
    assert len(asked) <= 2


def test_a_record_refused_for_good_is_parked_after_three_tries_and_the_rest_goes_on(carry, until):
    outbox, parked = FakeOutbox(), []

    def answer(records):
        for position, record in enumerate(records):
            if record.seq == 3:
                raise RefusedError(position, "answered 422")
        return len(records)

    for _ in range(5):
        outbox.commit()
    sink = ScriptedSink(answer)
    courier = carry(
        sink, outbox, on_parked=lambda name, record, why: parked.append((name, record.seq, why))
    )
    until(lambda: outbox.backlog("scripted") == 0)
    assert parked == [("scripted", 3, "answered 422")]
    assert sink.given == [[1, 2, 3, 4, 5], [3, 4, 5], [3, 4, 5], [4, 5]]
    until(lambda: courier.health.up)
    assert (courier.health.delivered, courier.health.parked) == (4, 1)
    assert courier.health.detail == "delivering, 1 refused for good"


def test_a_bug_in_a_sink_ends_no_thread(carry, until, caplog):
    outbox, broken = FakeOutbox(), [True]

    def answer(records):
        if broken.pop() if broken else False:
            raise ZeroDivisionError("a bug")
        return len(records)

    courier = carry(ScriptedSink(answer), outbox)
    outbox.commit()
    until(lambda: courier.health.delivered == 1)
    assert "ZeroDivisionError: a bug" in caplog.text


def test_stop_delivers_what_is_waiting_and_closes(carry, until):
    outbox, sink = FakeOutbox(), ScriptedSink(lambda records: 1)
    courier = carry(sink, outbox)
    until(lambda: courier.health.up)
    for _ in range(20):
        outbox.commit()
    assert courier.stop(5.0)
    assert sink.seen == list(range(1, 21))
    assert sink.closed.is_set()


def test_stop_does_not_wait_for_a_sink_that_is_down(carry, until):
    outbox = FakeOutbox()
    outbox.commit()

    def answer(records):
        raise SinkError(SinkCause.LOST, "gone", retry_s=60.0)

    courier = carry(ScriptedSink(answer), outbox)
    until(lambda: "gone" in courier.health.detail)
    start_s = time.monotonic()
    assert courier.stop(5.0)
    assert time.monotonic() - start_s < 2.0
    assert outbox.backlog("scripted") == 1


def test_stop_leaves_a_hanging_sink_behind_in_time(carry, until):
    outbox, let_go = FakeOutbox(), threading.Event()
    outbox.commit()
    sink = ScriptedSink(lambda records: let_go.wait(20) and len(records))
    courier = carry(sink, outbox)
    until(lambda: sink.given)
    start_s = time.monotonic()
    assert not courier.stop(0.3)
    assert time.monotonic() - start_s < 2.0
    let_go.set()


def test_several_hanging_sinks_are_left_behind_within_one_deadline(until):
    outbox, let_go = FakeOutbox(), threading.Event()
    sinks, couriers = [], []
    for name in ("first", "second", "third"):
        sink = ScriptedSink(lambda records: let_go.wait(20) and len(records))
        sink.name = name
        sinks.append(sink)
        couriers.append(Courier(sink, outbox, QUICK))
        couriers[-1].start()
    outbox.commit()
    until(lambda: all(sink.given for sink in sinks))
    start_s = time.monotonic()
    assert not stop_couriers(couriers, 0.5)
    assert time.monotonic() - start_s < 1.2
    let_go.set()
    assert stop_couriers(couriers, 5.0)


def test_an_outbox_that_fails_is_said_without_a_traceback(carry, until, caplog):
    outbox, sink = FakeOutbox(), ScriptedSink()
    pending, failures = outbox.pending, [1, 2]

    def fail(sink, limit):
        if failures:
            failures.pop()
            raise ZsadError("the database cannot be read")
        return pending(sink, limit)

    outbox.pending = fail
    outbox.commit()
    courier = carry(sink, outbox)
    until(lambda: courier.health.delivered == 1)
    assert "failed: the database cannot be read" in caplog.text
    assert "Traceback" not in caplog.text


def test_an_outbox_that_counts_verdicts_and_hands_out_none_is_trouble(carry, until, monkeypatch):
    monkeypatch.setattr(place, "_STARVED_S", 0.5)
    outbox, sink = FakeOutbox(), ScriptedSink()
    courier = carry(sink, outbox)
    outbox.commit()
    until(lambda: courier.health.up and courier.health.delivered == 1)
    pending, outbox.pending = outbox.pending, lambda sink, limit: []
    outbox.commit()
    until(lambda: not courier.health.up)
    assert courier.health.detail == "failed: the outbox hands out nothing of what waits in it"
    assert courier.health.backlog == 1
    opened = sink.opened
    until(lambda: sink.opened > opened)  # the sink is still asked to tell of being alive
    outbox.pending = pending
    until(lambda: courier.health.up and courier.health.delivered == 2)


def test_a_courier_with_nothing_to_do_is_quiet(carry, until):
    """A long acknowledged outbox must not be walked through, nor asked without pause."""
    outbox, sink = FakeOutbox(), ScriptedSink()
    for _ in range(1000):
        outbox.commit()
    outbox.register("scripted")
    outbox.acknowledge("scripted", 1000)
    carry(sink, outbox)
    until(lambda: sink.opened >= 3)
    opened, start_s = sink.opened, time.monotonic()
    until(lambda: time.monotonic() - start_s > 1.0)
    assert sink.opened - opened <= 8  # 5 Hz


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 8, 9, 1000])
def test_the_newest_number_is_found_by_asking(count):
    outbox = FakeOutbox()
    for _ in range(count):
        outbox.commit()
    assert committed_head(outbox) == count


def test_delays_double_up_to_the_cap_and_are_drawn_from_their_upper_half():
    class Highest:
        def uniform(self, low, high):
            assert (low, high) == (0.5, 1.0)
            return high

    backoff = Backoff(BackoffConfig(0.5, 3.0), Highest())
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next_s() == 0.5
    for _ in range(5000):
        assert backoff.next_s() <= 3.0
