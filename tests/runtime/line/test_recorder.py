import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from waiting import wait_until

from zsad.errors import LedgerError
from zsad.images import frame_sha256
from zsad.inspection.config import PartConfig
from zsad.inspection.debounce import Settled
from zsad.inspection.parts import PartCollator
from zsad.line.accounts import Accounts
from zsad.line.clock import Clock
from zsad.line.judge import Identity, Judged, Taken, silent_view
from zsad.line.latency import Latencies, stage_durations_ms
from zsad.line.monitor import Monitor
from zsad.line.recorder import Recorder
from zsad.line.status import LineState
from zsad.sources.base import Frame
from zsad.sources.health import Counts, SourceHealth, SourceState
from zsad.types import Verdict

IDENTITY = Identity("artifact", "graph", "cpu", "graph")


class Line:
    """A recorder in its thread, over a ledger that is a list and can be full."""

    def __init__(self, takt_ms=None, views=None, utc=None):
        self.records, self.full, self.captured = [], None, 0
        self.disk = threading.Event()  # where it is not set, a commit waits
        self.disk.set()
        counts = {"top": lambda: Counts(self.captured, self.captured, {}, 0)}
        health = SourceHealth(SourceState.LIVE, None, "", 0.0, 0, Counts())
        self.latencies = Latencies()
        self.monitor = Monitor("press", {"top": lambda: health}, self.latencies)
        self.monitor.ready()
        self.accounts = Accounts(counts, time.monotonic)
        self.recorder = Recorder(
            "press",
            PartCollator(PartConfig(views or {"top": 1}, (takt_ms or 3.6e6) / 1e3)),
            self.commit,
            self.accounts,
            self.monitor,
            self.latencies,
            Clock(time.monotonic, utc or (lambda: datetime.now(timezone.utc))),
            takt_ms,
        )
        self.thread = threading.Thread(target=self.recorder.run)
        self.thread.start()

    def commit(self, record, evidence):
        if self.full:
            raise LedgerError(self.full)
        assert [one.view for one in evidence] == list(record.views)
        assert self.disk.wait(10)
        self.records.append(replace(record, seq=len(self.records) + 1))
        return self.records[-1]

    def take(self, trigger=None, level=7, captured_s=None):
        now_s = time.monotonic()
        image = np.full((2, 2, 3), level, np.uint8)
        captured_s = now_s if captured_s is None else captured_s
        frame = Frame(str(self.captured), image, None, captured_s, trigger)
        self.captured += 1
        ticket, _ = self.accounts.take("top", lambda: frame)
        taken = Taken(ticket, frame, IDENTITY)
        self.recorder.inbox.begun([taken])
        return taken

    def judged(self, taken, verdict="OK", settled=None):
        view = replace(silent_view(taken, None), verdict=verdict, score=0.25)
        self.recorder.inbox.judged([Judged(taken, view, None, settled)])

    def until(self, condition):
        wait_until(condition)

    def end(self):
        self.recorder.inbox.finish(5)
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def make_line():
    lines = []

    def make(**options):
        lines.append(Line(**options))
        return lines[-1]

    yield make
    for line in lines:
        if line.thread.is_alive():
            line.end()
        assert line.accounts.in_flight == 0
        assert line.accounts.check() == ()


def test_a_frame_becomes_a_committed_verdict_and_is_accounted_for(make_line):
    line = make_line()
    taken = line.take()
    line.judged(taken)
    line.until(lambda: line.records and not line.accounts.in_flight)
    record = line.records[0]
    assert (record.seq, record.line, record.part, record.verdict) == (1, "press", "0", "OK")
    assert record.views[0].frame_sha256 == frame_sha256(taken.frame.image_bgr)
    assert record.capture_to_verdict_ms >= record.views[0].stages_ms["queued"] >= 0
    assert line.accounts.balances()["top"].judged == 1
    assert line.monitor.status().last.seq == 1
    assert {"queue", "commit", "capture to verdict"} <= set(line.latencies.histograms())


def test_a_verdict_that_is_not_on_the_disk_is_a_fault_and_told_to_nobody(make_line):
    line = make_line()
    line.full = "the disk is full"
    line.judged(line.take())
    line.until(lambda: line.accounts.balances()["top"].dropped == {"uncommitted": 1})
    assert line.monitor.status().state is LineState.FAULT
    assert line.monitor.status().reasons == ("the disk is full",)
    assert line.monitor.status().last is None
    line.full = None
    line.judged(line.take())
    line.until(lambda: line.monitor.status().last is not None)
    assert line.monitor.status().state is LineState.FAULT, "nobody had the time to see it"
    line.until(lambda: line.recorder.refusal is None)
    line.judged(line.take())
    line.until(lambda: line.monitor.status().state is LineState.RUNNING)


def test_an_engine_that_hangs_does_not_keep_the_takt_from_being_answered(make_line):
    line = make_line(takt_ms=60)
    hung = line.take()
    line.until(lambda: line.records)
    assert line.records[0].verdict == "NO_RESULT"
    assert line.records[0].reason == "top: no answer within the takt of 60 ms"
    assert 60 <= line.records[0].capture_to_verdict_ms < 5000
    assert line.monitor.status().overruns == 1
    line.judged(hung, "NG")
    line.judged(line.take(), "OK")
    line.until(lambda: len(line.records) == 2)
    assert line.records[1].verdict == "OK", "what was told is not told again"


@pytest.mark.parametrize("verdict", ["OK", "UNCALIBRATED"])
def test_behind_a_disk_that_hangs_no_ok_comes_after_the_takt(make_line, verdict):
    line = make_line(takt_ms=400)
    first, second, third = line.take(), line.take(), line.take()
    line.disk.clear()
    views = [replace(silent_view(t, None), verdict=verdict, score=0.25) for t in (first, second)]
    line.recorder.inbox.judged([Judged(first, views[0]), Judged(second, views[1])])
    line.judged(third, verdict)  # at hand in time, and read when the disk is back
    time.sleep(0.5)
    line.disk.set()
    line.until(lambda: len(line.records) == 3)
    assert [record.verdict for record in line.records] == [verdict, "NO_RESULT", "NO_RESULT"]
    assert line.records[1].reason == "not recorded within the takt of 400 ms"
    assert line.records[2].reason == "top: no answer within the takt of 400 ms"
    assert all(record.capture_to_verdict_ms >= 400 for record in line.records[1:])
    assert line.monitor.status().overruns == 2


def test_a_defect_that_is_recorded_late_stays_one(make_line):
    line = make_line(takt_ms=400)
    line.disk.clear()
    taken = [line.take(), line.take()]
    views = [replace(silent_view(each, None), verdict="NG", score=0.75) for each in taken]
    line.recorder.inbox.judged([Judged(*each) for each in zip(taken, views, strict=True)])
    time.sleep(0.5)
    line.disk.set()
    line.until(lambda: len(line.records) == 2)
    assert line.records[1].verdict == "NG"


def test_the_views_of_a_part_are_one_verdict_and_the_worst_wins(make_line):
    line = make_line(takt_ms=60_000, views={"top": 2})
    first, second = line.take("part 7"), line.take("part 7")
    line.judged(first, "NG")
    line.judged(second, "OK")
    line.until(lambda: line.records)
    assert (line.records[0].part, line.records[0].verdict) == ("part 7", "NG")
    assert [view.frame for view in line.records[0].views] == ["0", "1"]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [("OK", "OK", "NO_RESULT"), ("NG", "OK", "NO_RESULT"), ("OK", "NG", "NG")],
)
def test_what_a_wrong_engine_said_of_an_open_part_counts_for_nothing(
    make_line, before, after, verdict
):
    line = make_line(takt_ms=60_000, views={"top": 2})
    first = line.take("part 7")
    line.judged(first, before)
    line.until(lambda: line.recorder._collator.waiting == 1)
    line.recorder.doubts.begin("fp32 on cpu is out of parity")
    line.judged(line.take("part 7"), after)
    line.until(lambda: line.records)
    (record,) = line.records
    assert record.verdict == verdict
    said = None if verdict == "NG" else "top: fp32 on cpu is out of parity"
    assert record.reason == said
    doubted, right = record.views
    assert (doubted.verdict, doubted.score) == ("NO_RESULT", None)
    assert doubted.reason == "fp32 on cpu is out of parity"
    assert doubted.frame_sha256 == frame_sha256(first.frame.image_bgr)
    assert (right.verdict, right.score) == (after, 0.25)
    for _ in range(2):
        line.judged(line.take("part 8"), "OK")
    line.until(lambda: len(line.records) == 2)
    assert line.records[1].verdict == "OK", "what judges now is believed"


def test_a_part_with_a_view_missing_says_both_reasons(make_line):
    line = make_line(takt_ms=300, views={"top": 2})
    line.judged(line.take("part 7"), "OK")
    line.recorder.doubts.begin("out of parity: no plan at https://op:secret@cache/x")
    line.until(lambda: line.records)
    assert line.records[0].verdict == "NO_RESULT"
    missing, doubted = line.records[0].reason.split("; ")
    assert missing.startswith("views missing after 3")
    assert doubted == "top: out of parity: no plan at https://***@cache/x"


@pytest.mark.parametrize(("verdict", "settled"), [("OK", None), ("NO_RESULT", "OK"), ("NG", "NG")])
def test_what_waits_behind_the_disk_when_an_engine_is_found_wrong_is_no_result(
    make_line, verdict, settled
):
    line = make_line()
    line.disk.clear()
    line.judged(line.take())
    line.judged(line.take(), verdict, None if settled is None else Settled(Verdict(settled)))
    line.recorder.doubts.begin("out of parity")
    line.disk.set()
    line.until(lambda: len(line.records) == 2)
    assert line.records[1].verdict == "NO_RESULT"
    assert line.records[1].reason.endswith("top: out of parity")


def test_a_recorder_sleeps_until_something_is_due_or_comes(make_line):
    line = make_line(takt_ms=60_000, views={"top": 1})
    looks, due = [], line.recorder._collator.due
    line.recorder._collator.due = lambda now_s: looks.append(now_s) or due(now_s)
    line.recorder.inbox.expect("part 1")
    line.until(lambda: looks)
    time.sleep(0.5)
    assert len(looks) <= 3


def test_a_trigger_that_no_frame_answers_is_a_verdict_all_the_same(make_line):
    line = make_line(takt_ms=50, views={"top": 1})
    assert line.recorder.inbox.expect("part 8")
    line.until(lambda: line.records)
    assert (line.records[0].part, line.records[0].verdict) == ("part 8", "NO_RESULT")
    assert line.records[0].views == ()
    assert line.records[0].reason.startswith("views missing after ")
    assert line.monitor.status().overruns == 1


def test_a_trigger_whose_part_is_open_is_refused_until_that_is_told(make_line):
    line = make_line(takt_ms=60_000, views={"top": 1})
    assert line.recorder.inbox.expect("part 4")
    assert line.recorder.inbox.expect("part 4") is None
    line.judged(line.take("part 4"))
    line.until(lambda: line.records)
    assert line.recorder.inbox.expect("part 4")
    line.judged(line.take("part 4"), "NG")
    line.until(lambda: len(line.records) == 2)
    assert [record.verdict for record in line.records] == ["OK", "NG"]


def test_a_part_that_was_withdrawn_has_no_verdict_and_may_begin_anew(make_line):
    line = make_line(takt_ms=400, views={"top": 1})
    line.disk.clear()
    line.judged(line.take())  # holds the recorder up, so that all three wait in its queue
    begun_s = line.recorder.inbox.expect("part 5")
    line.recorder.inbox.withdraw("part 5", begun_s)
    again_s = line.recorder.inbox.expect("part 5")
    assert again_s > begun_s
    line.disk.set()
    line.until(lambda: len(line.records) == 2)
    assert [record.part for record in line.records] == ["0", "part 5"]
    assert line.records[1].capture_to_verdict_ms >= 400
    assert line.recorder.inbox.expect("part 5")
    line.end()
    assert [record.part for record in line.records][1:] == ["part 5", "part 5"]


def test_a_view_after_its_part_was_told_is_dropped_as_late(make_line):
    line = make_line(takt_ms=200, views={"top": 2})
    line.recorder.inbox.expect("part 9")
    line.judged(line.take("part 9"))
    line.until(lambda: line.records)
    line.judged(line.take("part 9"), "NG")
    line.until(lambda: line.accounts.balances()["top"].dropped == {"late": 1})
    assert [record.verdict for record in line.records] == ["NO_RESULT"]


def test_the_debounced_verdict_is_the_parts_and_the_view_keeps_its_own(make_line):
    line = make_line()
    line.judged(line.take(), "NG", Settled(Verdict.OK))
    line.judged(line.take(), "OK", Settled(Verdict.NO_RESULT, "debounce: 1 of the last 3"))
    line.until(lambda: len(line.records) == 2)
    assert [(r.verdict, r.reason) for r in line.records] == [
        ("OK", None),
        ("NO_RESULT", "debounce: 1 of the last 3"),
    ]
    assert [r.views[0].verdict for r in line.records] == ["NG", "OK"]


def test_at_the_end_what_is_open_gets_its_no_result(make_line):
    line = make_line(takt_ms=60_000, views={"top": 2})
    line.take()
    line.judged(line.take("part 3"))
    line.end()
    found = {record.part: (record.verdict, record.reason) for record in line.records}
    assert found["0"] == ("NO_RESULT", "top: the line was stopped")
    assert found["part 3"] == ("NO_RESULT", "the line was stopped")


def test_acknowledgements_are_measured_from_the_capture(make_line):
    line = make_line()
    line.judged(line.take())
    line.until(lambda: line.monitor.status().last is not None)
    record = line.records[0]
    line.recorder.acknowledged("mqtt", record, time.monotonic())
    line.recorder.acknowledged("mqtt", replace(record, seq=99), time.monotonic())
    found = line.latencies.percentiles()["acknowledged by mqtt"]
    assert found.count == 1, "an earlier run's verdict has no capture here"
    assert found.max_ms >= record.capture_to_verdict_ms


def test_a_wall_clock_that_steps_by_hours_makes_no_duration_negative(make_line):
    steps = iter([timedelta(0), timedelta(hours=-5), timedelta(hours=7)] * 100)

    def utc():
        return datetime(2026, 6, 1, tzinfo=timezone.utc) + next(steps)

    line = make_line(utc=utc, takt_ms=60_000)
    for _ in range(5):
        line.judged(line.take())
    line.until(lambda: len(line.records) == 5)
    for record in line.records:
        assert 0 <= record.capture_to_verdict_ms < 10_000
        assert all(value >= 0 for value in stage_durations_ms(record.views[0]).values())
    for found in line.latencies.percentiles().values():
        assert 0 <= found.p50_ms <= found.max_ms < 10_000


def test_stages_are_differences_of_their_ends():
    view = silent_view(
        Taken(
            type("T", (), {"camera": "top", "taken_s": 10.007, "number": 1})(),
            Frame("0", None, None, 10.0, decoded_s=10.004),
            IDENTITY,
        ),
        None,
    )
    assert view.stages_ms == {"queued": 7.0, "decoded": 4.0}
    view = replace(view, stages_ms={**view.stages_ms, "preprocessed": 9.5, "inferred": 30.0})
    assert stage_durations_ms(view) == {
        "decode": 4.0,
        "queue": 3.0,
        "preprocess": 2.5,
        "infer": 20.5,
    }
