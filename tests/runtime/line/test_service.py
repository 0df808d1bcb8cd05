"""A line in this process, with faults that no configuration brings about."""

import errno
import json
import os
import signal
import sqlite3
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from waiting import wait_until

from zsad.backends.ort import OrtBackend
from zsad.cli.line import run_config
from zsad.errors import InputError
from zsad.ledger import Ledger
from zsad.ledger.database import FILE
from zsad.ledger.writer import Writer
from zsad.line.archive import Archive
from zsad.line.assembly import Assembly
from zsad.line.config import LineConfig
from zsad.line.judges import LineJudges
from zsad.line.references import Secrets
from zsad.line.service import STOP_WITHIN_S, Line
from zsad.line.status import LineState
from zsad.line.systemd import Notifier
from zsad.line.yaml_config import read_yaml
from zsad.recipe import read_recipe, write_recipe
from zsad.watch.parity import EngineChange


class Manager(Notifier):
    """systemd's part, as a list of what it was told."""

    def __init__(self):
        super().__init__({"WATCHDOG_USEC": "400000"})
        self.told = []

    def _send(self, message):
        self.told.append(message)


class Running:
    """A line whose `run` has a thread of its own, as the test has the main one."""

    def __init__(self, config):
        self.manager = Manager()
        self.parts = Assembly(config, "the configuration", self.manager.watchdog_s)
        self.line = Line(self.parts, self.manager)
        self.asked = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        self.stopped_in_s = self.clean = None

    def run(self):
        try:
            if self.line.start(self.asked.is_set):
                self.line.run(self.asked.is_set)
        except Exception as error:
            self.error = error

    @property
    def status(self):
        return self.parts.monitor.status()

    def until(self, condition, timeout_s=20):
        wait_until(condition, timeout_s, lambda: (self.status, self.error))

    def fed(self):
        return self.manager.told.count("WATCHDOG=1")

    def stop(self):
        self.asked.set()
        self.thread.join(20)
        begin_s = time.monotonic()
        self.clean = self.line.stop()
        self.stopped_in_s = time.monotonic() - begin_s


@pytest.fixture
def start(line_folder, monkeypatch):
    monkeypatch.chdir(line_folder)
    file = line_folder / "line.yaml"
    file.write_text(file.read_text().replace("  - {name: film, source: film.avi}\n", ""))
    lines = []

    def start(engine="idle_check_s: 0.05, hang_s: 0.5"):
        file.write_text(file.read_text().replace("max_batch: 2", f"max_batch: 2, {engine}"))
        lines.append(Running(read_yaml(LineConfig, file.name, Secrets())))
        return lines[-1]

    yield start
    for line in lines:
        if line.clean is None:
            line.stop()


def threads():
    return {thread.name for thread in threading.enumerate()}


def test_every_thread_is_joined_and_what_was_in_flight_is_finished(start, drop):
    before = threads()
    running = start("idle_check_s: 0.05")
    running.until(lambda: running.status.state is not LineState.STARTING)
    for number in range(5):
        drop(str(number), 51)
    running.until(lambda: running.parts.accounts.balances()["drop"].captured == 5)
    running.stop()
    assert running.clean
    assert running.stopped_in_s < STOP_WITHIN_S
    balance = running.parts.accounts.balances()["drop"]
    assert balance.judged + sum(balance.dropped.values()) == 5
    assert set(balance.dropped) <= {"closed"}
    assert balance.in_flight == 0
    assert running.parts.accounts.check() == ()
    assert threads() == before
    assert running.status.state is LineState.STOPPING


def test_an_engine_that_hangs_is_a_fault_starves_the_watchdog_and_holds_up_no_stop(
    start, drop, monkeypatch
):
    running = start()
    running.until(lambda: running.fed() > 2)
    hang = threading.Event()
    whole = OrtBackend.infer

    def infer(self, feeds):
        hang.wait(30)
        return whole(self, feeds)

    monkeypatch.setattr(OrtBackend, "infer", infer)
    drop("one", 51)
    running.until(lambda: running.status.state is LineState.FAULT)
    assert "the engine made no progress for" in running.status.reasons[0]
    time.sleep(0.3)  # a feed that was due already
    fed = running.fed()
    time.sleep(0.6)
    assert running.fed() == fed
    running.stop()
    assert not running.clean
    assert running.stopped_in_s < STOP_WITHIN_S
    hang.set()


def test_a_thread_that_dies_is_a_fault_that_only_a_restart_ends(start, drop, monkeypatch):
    def fail(self, record, evidence):
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(Archive, "commit", fail)
    running = start("idle_check_s: 0.05")
    drop("one", 51)
    running.until(lambda: running.status.state is LineState.FAULT)
    assert running.status.reasons[0] == "thread recorder died: RuntimeError: a bug of ours"
    time.sleep(0.3)
    fed = running.fed()
    time.sleep(0.6)
    assert running.fed() == fed, "the engine goes on, and the line is not whole"


def test_a_ledger_that_fails_is_a_fault_until_it_takes_commits_again(start, drop, monkeypatch):
    running = start("idle_check_s: 0.05")
    running.until(lambda: running.status.state is not LineState.STARTING)

    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_open", full)
        drop("one", 51)
        running.until(lambda: running.parts.accounts.balances()["drop"].dropped)
        time.sleep(0.3)  # several turns of the watch over the line
        assert running.status.state is LineState.FAULT
        assert "No space left on device" in running.status.reasons[0]
        assert running.status.last is None
    # A PLC that sees a fault triggers nothing: the fault must end without a verdict.
    running.until(lambda: running.status.state is LineState.DEGRADED)
    assert running.status.last is None
    drop("two", 51)
    running.until(lambda: running.status.last is not None)
    assert running.status.last.seq == 2
    assert running.parts.accounts.balances()["drop"].dropped == {"uncommitted": 1}
    # What is left is that this artifact has no golden frames.
    running.until(lambda: running.status.state is LineState.DEGRADED)


def test_a_stop_under_another_programs_lock_is_in_time_and_writes_what_it_can(
    start, drop, line_folder
):
    running = start("idle_check_s: 0.05")
    running.until(lambda: running.status.state is not LineState.STARTING)
    other = sqlite3.connect(
        line_folder / "ledger" / FILE, isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    drop("one", 51)
    running.until(lambda: running.parts.accounts.balances()["drop"].dropped)
    timer = threading.Timer(1.0, other.execute, ["ROLLBACK"])
    timer.start()
    running.stop()
    timer.join()
    assert running.clean
    assert running.stopped_in_s < STOP_WITHIN_S
    found = other.execute("SELECT part, verdict, record FROM verdicts").fetchall()
    other.close()
    assert [row[:2] for row in found] == [("one.png", "NO_RESULT")]
    assert json.loads(found[0][2])["late"]


def test_a_file_whose_name_is_no_text_is_judged_like_any_other(start, line_folder):
    running = start("idle_check_s: 0.05")
    running.until(lambda: running.status.state is not LineState.STARTING)
    cv2.imwrite("new.png", np.full((8, 12, 3), 51, np.uint8))
    os.rename("new.png", line_folder / "drop" / os.fsdecode(b"M\xfcller.png"))
    running.until(lambda: running.status.last is not None)
    assert (running.status.last.part, running.status.last.verdict) == (r"M\xfcller.png", "OK")
    running.stop()
    assert running.clean
    told = (line_folder / "verdicts.jsonl").read_text().splitlines()
    assert [json.loads(line)["part"] for line in told] == [r"M\xfcller.png"]


def test_the_engine_does_not_wait_for_the_disk_that_its_change_is_audited_on(start, monkeypatch):
    class Changed(LineJudges):
        def __init__(self, *args):
            super().__init__(*args)
            self._on_doubt("out of parity")
            self._on_change(EngineChange("fp32 on cpu", "none", "out of parity"))

    audited, whole = [], Ledger.audit

    def audit(self, event):
        audited.append((event.kind, threading.current_thread().name))
        return whole(self, event)

    monkeypatch.setattr("zsad.line.assembly.LineJudges", Changed)
    monkeypatch.setattr(Ledger, "audit", audit)
    running = start("idle_check_s: 0.05")
    running.until(lambda: "engine" in dict(audited))
    assert dict(audited)["engine"] == running.thread.name
    assert running.parts.recorder.doubts.era == 1, "and the recorder knows of it"


def test_a_recipe_that_is_replaced_during_the_start_judges_as_it_was_audited(
    start, drop, line_folder, monkeypatch
):
    audited, whole = {}, Ledger.audit

    def audit(self, event):
        audited[event.kind] = event.after
        recipe = read_recipe("part.json")
        own = tuple(replace(each, threshold=0.1) for each in recipe.calibrations)
        write_recipe("part.json", replace(recipe, calibrations=own))
        return whole(self, event)

    monkeypatch.setattr(Ledger, "audit", audit)
    running = start("idle_check_s: 0.05")
    running.until(lambda: running.status.state is not LineState.STARTING)
    drop("one", 51)
    running.until(lambda: running.status.last is not None)
    running.stop()
    (line,) = (line_folder / "verdicts.jsonl").read_text().splitlines()
    (view,) = json.loads(line)["views"]
    assert (view["recipe"], view["threshold"]) == (audited["recipe"], 0.5)


def test_an_engine_that_does_not_load_is_the_starts_own_error(start, line_folder):
    (line_folder / "artifact" / "model.fp32.onnx").write_bytes(b"not a graph")
    running = start("idle_check_s: 0.05")
    running.thread.join(20)
    assert "model.fp32.onnx" in str(running.error)
    running.stop()
    assert running.clean


def test_a_stop_while_the_engine_loads_is_obeyed(start, monkeypatch):
    hang = threading.Event()
    monkeypatch.setattr(
        "zsad.line.assembly.LineJudges", lambda *args: hang.wait(30) or pytest.fail("not stopped")
    )
    running = start("idle_check_s: 0.05")
    running.until(lambda: "engine" in threads())
    running.stop()
    assert running.stopped_in_s < STOP_WITHIN_S
    assert running.status.state is LineState.STOPPING
    assert running.clean, "it had nothing to finish"
    assert running.line.is_loading
    hang.set()


def test_sigterm_while_the_engine_loads_is_a_stop_in_good_order(line_folder, monkeypatch):
    hang, begun = threading.Event(), threading.Event()

    def load(*args):
        begun.set()
        hang.wait(30)
        raise InputError("not stopped")

    def leave(code):
        raise SystemExit(f"left with {code}")

    monkeypatch.chdir(line_folder)  # the command itself does it, too
    monkeypatch.setattr("zsad.line.assembly.LineJudges", load)
    monkeypatch.setattr("os._exit", leave)
    asking = threading.Thread(
        target=lambda: begun.wait(20) and os.kill(os.getpid(), signal.SIGTERM), name="systemd"
    )
    asking.start()
    with pytest.raises(SystemExit, match="left with 0"):
        run_config(line_folder / "line.yaml", check=False)
    hang.set()
    asking.join(10)


@pytest.mark.parametrize("camera", [30], indirect=True)
@pytest.mark.parametrize(
    ("seconds", "share"), [(4, 0.95), pytest.param(120, 0.99, marks=pytest.mark.slow)]
)
def test_a_camera_three_times_as_fast_as_the_engine_makes_no_frame_old(
    start, line_folder, camera, monkeypatch, seconds, share
):
    whole = OrtBackend.infer

    def infer(self, feeds):
        time.sleep(0.1)
        return whole(self, feeds)

    monkeypatch.setattr(OrtBackend, "infer", infer)
    file = line_folder / "line.yaml"
    net = f'name: net, source: "http://127.0.0.1:{camera.port}/live"'
    file.write_text(file.read_text().replace("name: drop, source: drop", net))
    running = start("idle_check_s: 0.05")
    running.until(lambda: running.status.last is not None and running.status.last.seq > 3)
    time.sleep(seconds)
    running.stop()
    balance = running.parts.accounts.balances()["net"]
    assert balance.dropped["displaced"] > balance.judged, "it was faster than the engine"
    lines = (line_folder / "verdicts.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines[3:]]
    spent = [r["views"][0]["stages_ms"] for r in told if r["verdict"] != "NO_RESULT"]
    ages_ms = [each["judged"] for each in spent]
    period_ms = max(each["judged"] - each["queued"] for each in spent)
    assert np.quantile(ages_ms, share) <= period_ms + 100
    half = len(ages_ms) // 2
    assert np.median(ages_ms[half:]) <= np.median(ages_ms[:half]) + 50, "and no older as it runs"


def test_a_trigger_that_no_camera_takes_is_refused_and_begins_nothing(
    start, line_folder, monkeypatch
):
    file = line_folder / "line.yaml"
    dead = 'name: net, source: "http://127.0.0.1:9/live", trigger: software'
    text = file.read_text().replace("name: drop, source: drop", dead)
    file.write_text(text.replace("recipe: part.json", "recipe: part.json\ntakt_ms: 300"))
    running = start("idle_check_s: 0.05")
    running.until(lambda: running.status.cameras["net"].cause is not None)
    assert running.status.state is LineState.FAULT, "its only camera is down"
    assert not running.parts.trigger("part 7")
    (net,) = running.parts.cameras.values()
    monkeypatch.setattr(net, "trigger", lambda trigger: True)
    assert running.parts.trigger("part 7"), "what was refused may come again at once"
    assert not running.parts.trigger("part 7"), "it has no verdict yet"
    running.until(lambda: running.status.last is not None)
    assert (running.status.last.part, running.status.last.verdict) == ("part 7", "NO_RESULT")
    assert running.status.last.seq == 1
    assert running.parts.trigger("part 7"), "a told id is a new part"
    running.until(lambda: running.status.last.seq == 2)
    assert running.status.overruns == 2
