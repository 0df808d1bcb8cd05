"""The state table of docs/failsafe.md: each fault is caused, and each cell of its row checked."""

import contextlib
import functools
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from broker_rig import Mosquitto
from failsafe_table import (
    COLUMNS,
    NO_ANSWER,
    SILENCE_S,
    Consumers,
    ask_http,
    assert_seen,
    read_table,
    seconds,
    tokens,
)
from sinks_rig import KEEPALIVE_S, STALE_S, VALID_S, SinksRig

from zsad.line.status import LineState

pytest.importorskip("paho")
pytest.importorskip("pymodbus")
pytest.importorskip("prometheus_client")

FAKES = Path(__file__).parents[2] / "fakes"
OPTIONS = {
    "stale_s": STALE_S,
    "valid_s": VALID_S,
    "keepalive_s": KEEPALIVE_S,
    # This line is pretended: its faults begin when it says so itself.
    "stall_s": 0,
    "takt_ms": 0,
    "commit_timeout_s": 0,
    "every_s": 0,
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    made = Mosquitto(tmp_path_factory.mktemp("broker")).start()
    yield made
    made.kill()


@pytest.fixture
def consumers(request, tmp_path, broker):
    made = Consumers(request.node.callspec.params["row"], tmp_path, broker)
    yield made
    made.close()


@contextlib.contextmanager
def running(consumers, until):
    """A line that runs, whose OK is on show."""
    rig = SinksRig(**consumers.where)
    rig.start()
    try:
        rig.wait_until_up()
        rig.outbox.commit("OK")
        until_ok(consumers, until)
        yield rig
    finally:
        rig.stop()


def until_ok(consumers, until):
    def all_have_it():
        seen = consumers.see()
        told = all(seen[name].get("verdict") == "OK" for name in ("MQTT", "webhook", "JSONL"))
        return told and seen["Modbus"].get("OK") == "1" and seen["HTTP"].get("/readyz") == "200"

    until(all_have_it)
    consumers.forget()


def next_part(consumers, rig, verdict):
    consumers.acknowledge(1)
    rig.outbox.commit(verdict)


# One scenario per row: it causes the fault in a line that runs, at the moment of the first yield.


@contextlib.contextmanager
def starting(consumers, until):
    rig = SinksRig(**consumers.where)
    rig.say(state=LineState.STARTING)
    rig.start()
    try:
        yield
    finally:
        rig.stop()


def in_a_running_line(cause):
    @contextlib.contextmanager
    def scenario(consumers, until):
        with running(consumers, until) as rig:
            cause(rig, consumers)
            yield

    return scenario


def camera_lost(rig, consumers):
    rig.fault("camera top is stalled")
    rig.outbox.commit("NO_RESULT")


def view_lost(rig, consumers):
    rig.say(state=LineState.DEGRADED, reasons=("camera side is stalled",))
    next_part(consumers, rig, "NO_RESULT")


def engine_error(rig, consumers):
    next_part(consumers, rig, "NO_RESULT")


def engine_hung(rig, consumers):
    rig.line.hangs = True


def parity_breach(rig, consumers):
    rig.fault("golden frame 3 is off, no calibrated backend is left")
    rig.outbox.commit("NO_RESULT")


def ledger_down(rig, consumers):
    rig.fault("the ledger takes no verdict: the disk is full")


def webhook_down(rig, consumers):
    consumers.end_webhook()
    next_part(consumers, rig, "NG")


def file_down(rig, consumers):
    consumers.file.parent.rename(consumers.file.parent.with_name("gone"))
    next_part(consumers, rig, "NG")


def plc_silent(rig, consumers):
    rig.outbox.commit("NG")


def status_unknown(rig, consumers):
    rig.line.fails = RuntimeError("a lock is held for ever")


def stopping(rig, consumers):
    rig.say(state=LineState.STOPPING)


def stopped(rig, consumers):
    rig.say(state=LineState.STOPPING)
    rig.stop()


@contextlib.contextmanager
def broker_down(consumers, until):
    with running(consumers, until) as rig:
        consumers.broker.kill()
        try:
            next_part(consumers, rig, "NG")
            yield
        finally:
            consumers.broker.start()


@contextlib.contextmanager
def restarted(consumers, until):
    with running(consumers, until) as rig:
        outbox = rig.outbox
        rig.stop()
        again = SinksRig(**consumers.where)
        again.outbox = again.line.outbox = outbox
        again.start()
        try:
            yield
        finally:
            again.stop()


def signalled(number):
    @contextlib.contextmanager
    def scenario(consumers, until):
        paths = os.pathsep.join([str(FAKES), *filter(None, sys.path)])
        process = subprocess.Popen(
            [sys.executable, str(FAKES / "sinks_rig.py"), json.dumps(consumers.where)],
            env={**os.environ, "PYTHONPATH": paths},
        )
        try:
            until_ok(consumers, functools.partial(until, timeout_s=30))
            process.send_signal(number)
            yield
        finally:
            process.kill()
            process.wait()

    return scenario


SCENARIOS = {
    "starting": starting,
    "camera-lost": in_a_running_line(camera_lost),
    "view-lost": in_a_running_line(view_lost),
    "engine-error": in_a_running_line(engine_error),
    "engine-hung": in_a_running_line(engine_hung),
    "parity-breach": in_a_running_line(parity_breach),
    "ledger-down": in_a_running_line(ledger_down),
    "broker-down": broker_down,
    "webhook-down": in_a_running_line(webhook_down),
    "file-down": in_a_running_line(file_down),
    "plc-silent": in_a_running_line(plc_silent),
    "status-unknown": in_a_running_line(status_unknown),
    "stopping": in_a_running_line(stopping),
    "stopped": in_a_running_line(stopped),
    "killed": signalled(signal.SIGKILL),
    "hung": signalled(signal.SIGSTOP),
    "restarted": restarted,
}


def test_every_row_has_a_scenario_and_every_scenario_a_row():
    table = read_table()
    assert table.keys() == SCENARIOS.keys()
    for row in table.values():
        assert seconds(row["T / s"], OPTIONS) > 0
        assert all(tokens(row[column]) for column in COLUMNS)


def test_no_row_allows_an_ok_to_stay():
    for row in read_table().values():
        modbus = tokens(row["Modbus"])
        assert modbus.get("OK") == "0" or modbus == {"answer": "none"}


@pytest.mark.system("mosquitto")
@pytest.mark.parametrize("row", read_table())
def test_a_fault_is_seen_as_the_table_says(row, consumers, until):
    cells = read_table()[row]
    expected = {column: tokens(cells[column]) for column in COLUMNS}
    with SCENARIOS[row](consumers, until):
        by_s = time.monotonic() + seconds(cells["T / s"], OPTIONS)
        assert_seen(consumers, expected, by_s)


@pytest.fixture
def slow_server():
    """Return `serve(delay_s) -> port`: each answer of it takes so long."""
    servers, over = [], threading.Event()

    def serve(delay_s):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                over.wait(delay_s)
                with contextlib.suppress(OSError):
                    self.send_response(503)
                    self.end_headers()

            def log_message(self, *arguments):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,)).start()
        return servers[-1].server_port

    yield serve
    over.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_status_server_on_a_loaded_machine_answers_and_one_that_hangs_does_not(slow_server):
    slow, hanging = slow_server(2 * SILENCE_S), slow_server(60)
    assert set(ask_http(slow, time.monotonic() + 10).values()) == {"503"}
    begun_s = time.monotonic()
    assert ask_http(hanging, begun_s + 2 * SILENCE_S) == NO_ANSWER
    assert 2 * SILENCE_S <= time.monotonic() - begun_s < 10
