from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from zsad.line.clock import Clock
from zsad.line.latency import Latencies
from zsad.line.monitor import Monitor
from zsad.line.record import VerdictRecord
from zsad.line.status import Balance, LineState, SinkHealth
from zsad.sources.health import Cause, Counts, SourceHealth, SourceState

LIVE = SourceHealth(SourceState.LIVE, None, "", 0.1, 0, Counts())
STALLED = replace(LIVE, state=SourceState.STALLED, cause=Cause.TIMEOUT, detail="silent for 3 s")
CONNECTING = replace(LIVE, state=SourceState.CONNECTING, age_s=None)
ENDED = replace(LIVE, state=SourceState.ENDED, cause=Cause.END_OF_FILE)
RECORD = VerdictRecord(7, "line", "part", "OK", None, (), "", "", 12.0)


class Line:
    def __init__(self):
        self.now_s = 0.0
        self.cameras = {"top": LIVE, "side": LIVE}
        self.sinks = {"mqtt": SinkHealth(True, "delivering", 0, 5)}
        clock = Clock(lambda: self.now_s, lambda: datetime(2026, 1, 1, tzinfo=timezone.utc))
        self.monitor = Monitor(
            "press", {n: lambda n=n: self.cameras[n] for n in self.cameras}, Latencies(), clock
        )
        self.monitor.deliver_to({"mqtt": lambda: self.sinks["mqtt"]})

    @property
    def state(self):
        return self.monitor.status().state

    @property
    def reasons(self):
        return self.monitor.status().reasons


@pytest.fixture
def line():
    found = Line()
    found.monitor.ready()
    return found


def test_it_starts_until_the_engine_is_ready_and_a_frame_came():
    line = Line()
    assert (line.state, line.reasons) == (LineState.STARTING, ("the engine is being loaded",))
    line.cameras["top"] = CONNECTING
    line.monitor.ready()
    assert (line.state, line.reasons) == (LineState.STARTING, ("no frame yet from top",))
    line.cameras["top"] = LIVE
    assert (line.state, line.reasons) == (LineState.RUNNING, ())


def test_a_camera_that_is_down_degrades_and_the_last_one_is_a_fault(line):
    line.cameras["top"] = STALLED
    assert line.state is LineState.DEGRADED
    assert line.reasons == ("camera top is stalled (timeout): silent for 3 s",)
    line.cameras["side"] = replace(STALLED, state=SourceState.BACKING_OFF, cause=Cause.REFUSED)
    assert line.state is LineState.FAULT
    assert line.reasons[0] == "no camera gives frames"
    assert len(line.reasons) == 3


def test_a_camera_that_is_opened_again_is_down_until_its_frame(line):
    line.monitor.committed(RECORD)
    line.cameras["top"] = replace(CONNECTING, cause=Cause.TIMEOUT)
    assert line.state is LineState.DEGRADED


def test_a_camera_that_never_gave_a_frame_degrades_once_others_are_judged(line):
    line.cameras["top"] = CONNECTING
    line.monitor.committed(RECORD)
    assert (line.state, line.reasons) == (LineState.DEGRADED, ("no frame yet from top",))


def test_the_end_of_a_file_is_no_failure(line):
    line.cameras["top"] = ENDED
    assert line.state is LineState.RUNNING


@pytest.mark.parametrize(
    ("severity", "state"),
    [
        ("fault", LineState.FAULT),
        ("degraded", LineState.DEGRADED),
        ("alarm", LineState.DEGRADED),
    ],
)
def test_a_condition_lasts_until_it_is_cleared(line, severity, state, caplog):
    for _ in range(3):
        line.monitor.raise_condition(severity, "disk", "the disk is full")
    assert (line.state, line.reasons) == (state, ("the disk is full",))
    assert caplog.text.count("the disk is full") == 1, "said once, not with every frame"
    assert line.monitor.status().alarms == (("the disk is full",) if severity == "alarm" else ())
    line.monitor.clear_condition(severity, "disk")
    line.monitor.clear_condition(severity, "disk")
    assert line.state is LineState.RUNNING


def test_a_fault_before_the_engine_is_ready_is_a_fault():
    line = Line()
    line.monitor.died("engine", ValueError("two\nlines"))
    assert line.state is LineState.FAULT
    assert line.reasons[0] == "thread engine died: ValueError: two lines"


def test_a_sink_that_is_down_degrades(line):
    line.sinks["mqtt"] = SinkHealth(False, "refused", 12, 5)
    assert (line.state, line.reasons) == (LineState.DEGRADED, ("sink mqtt: refused",))


def test_an_engine_that_hangs_is_a_fault_the_moment_somebody_asks(line):
    line.now_s = 9.0
    assert line.state is LineState.RUNNING
    line.now_s = 11.0
    assert line.state is LineState.FAULT
    assert line.reasons == ("the engine made no progress for 11 s",)
    line.monitor.beat()
    assert line.state is LineState.RUNNING
    assert line.monitor.heartbeat == 2


def test_an_engine_that_is_still_loading_does_not_hang():
    line = Line()
    line.now_s = 300.0
    assert line.state is LineState.STARTING


def test_a_stop_is_said_before_everything_else(line):
    line.monitor.raise_condition("fault", "disk", "the disk is full")
    line.monitor.stopping()
    assert line.state is LineState.STOPPING
    assert line.reasons == ("asked to stop", "the disk is full")


def test_verdicts_are_counted_and_the_last_one_ages(line):
    line.monitor.committed(RECORD)
    line.monitor.committed(replace(RECORD, seq=8, verdict="NG"))
    line.monitor.overrun()
    line.monitor.judged_by("model.fp32.onnx on cpu")
    line.now_s = 2.5
    status = line.monitor.status()
    assert status.verdicts == {"OK": 1, "NG": 1}
    assert (status.last.seq, status.last.verdict, status.last.age_s) == (8, "NG", 2.5)
    assert (status.overruns, status.backend, status.line) == (1, "model.fp32.onnx on cpu", "press")


def test_the_accounts_are_those_of_the_moment(line):
    balances = {"top": Balance(captured=3, judged=2, in_flight=1)}
    line.monitor.account_by(lambda: balances)
    line.monitor.breached(2)
    line.monitor.breached(0)
    assert line.monitor.status().accounts == balances
    assert line.monitor.status().breaches == 2


def test_a_wall_clock_that_steps_moves_a_date_and_no_duration():
    now = [datetime(2026, 1, 1, 12, tzinfo=timezone.utc)]
    mono = [100.0]
    clock = Clock(lambda: mono[0], lambda: now[0])
    assert clock.utc_of(99.5) == "2026-01-01T11:59:59.500+00:00"
    now[0] -= timedelta(hours=3)
    mono[0] += 1
    assert clock.utc_of(99.5) == "2026-01-01T08:59:58.500+00:00"
