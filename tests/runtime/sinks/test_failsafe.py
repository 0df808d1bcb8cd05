"""The state table of docs/failsafe.md: each fault is caused, and each cell of its row checked."""

import contextlib
import functools
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from broker_rig import Listener, Mosquitto, free_port
from sinks_rig import KEEPALIVE_S, STALE_S, VALID_S, SinksRig

from zsad.line.status import LineState
from zsad.sinks.registers import Flag, Register

pytest.importorskip("paho")
pytest.importorskip("pymodbus")
pytest.importorskip("prometheus_client")

TABLE = Path(__file__).parents[3] / "docs" / "failsafe.md"
FAKES = Path(__file__).parents[2] / "fakes"
OPTIONS = {"stale_s": STALE_S, "valid_s": VALID_S, "keepalive_s": KEEPALIVE_S}
COLUMNS = ("Modbus", "MQTT", "webhook", "JSONL", "HTTP")


def read_table():
    """Return {id: {column: cell}} of the table."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def tokens(cell):
    """Return {name: value} of a cell."""
    found = re.fullmatch(r"`([^`]+)`", cell)
    assert found, f"a cell holds nothing but what is checked: {cell}"
    return dict(token.split("=") for token in found[1].split())


def seconds(cell):
    """Return the number that a sum of numbers and options is."""
    total = 0.0
    for term in cell.strip("`").split("+"):
        factors = (OPTIONS.get(each.strip()) or float(each) for each in term.split("*"))
        total += functools.reduce(lambda a, b: a * b, factors)
    return total


class Consumers:
    """One consumer of each kind; `see()` is what they see of a line."""

    def __init__(self, name, folder, broker):
        self.ports = {"modbus_port": free_port(), "http_port": free_port()}
        folder = folder / "files"
        folder.mkdir()
        self.file = folder / "verdicts.jsonl"
        self.posted = []
        self.broker = broker
        self._name = name
        self._listener = Listener(broker.port, f"zsad/{name}/#", client_id=f"listener-{name}")
        self._plc = None
        self._since = {"webhook": 0, "JSONL": 0, "MQTT": 0}
        self._hook = http.server.HTTPServer(("127.0.0.1", 0), self._make_handler())
        self._thread = threading.Thread(target=self._hook.serve_forever, args=(0.02,))
        self._thread.start()
        self.where = {
            "name": name,
            "folder": str(folder),
            "broker_port": broker.port,
            "webhook_url": f"http://127.0.0.1:{self._hook.server_port}/",
            **self.ports,
        }

    def close(self):
        self.end_webhook()
        self._listener.close()
        if self._plc is not None:
            self._plc.close()

    def end_webhook(self):
        if self._thread.is_alive():
            self._hook.shutdown()
            self._thread.join()
            self._hook.server_close()

    def forget(self):
        """Count verdicts from here on."""
        self._since = {name: len(self._verdicts(name)) for name in self._since}

    def acknowledge(self, number):
        self._ask(lambda plc: plc.write_registers(0, [number >> 16, number & 0xFFFF]))

    def see(self):
        return {
            "Modbus": self._see_modbus(),
            "MQTT": self._see_mqtt(),
            "webhook": self._newest("webhook"),
            "JSONL": self._newest("JSONL"),
            "HTTP": self._see_http(),
        }

    def _ask(self, question):
        from pymodbus.client import ModbusTcpClient
        from pymodbus.exceptions import ModbusException

        if self._plc is None:
            self._plc = ModbusTcpClient(
                "127.0.0.1", port=self.ports["modbus_port"], timeout=0.3, retries=0
            )
        try:
            if self._plc.connected or self._plc.connect():
                answer = question(self._plc)
                return None if answer.isError() else answer
        except (ModbusException, OSError):
            self._plc.close()
        return None

    def _see_modbus(self):
        answer = self._ask(lambda plc: plc.read_input_registers(0, count=13))
        if answer is None:
            return {"answer": "none"}
        flags = answer.registers[Register.FLAGS]
        return {flag.name: str(int(bool(flags & flag))) for flag in Flag}

    def _see_mqtt(self):
        seen = self._newest("MQTT")
        if self.broker.is_dead:
            return {"answer": "none"}
        if not self._listener.states:
            return seen
        state = self._listener.states[-1]
        return {**seen, "state": state["state"], "trusted": str(state["trusted"]).lower()}

    def _see_http(self):
        paths = ("/healthz", "/readyz", "/snapshot.jpg")
        codes = {path: self._get(path) for path in paths}
        return {"answer": "none"} if None in codes.values() else codes

    def _get(self, path):
        url = f"http://127.0.0.1:{self.ports['http_port']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=0.3) as answer:
                return str(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return str(error.code)
        except OSError:
            return None

    def _newest(self, name):
        new = self._verdicts(name)[self._since[name] :]
        return {"verdict": json.loads(new[-1])["verdict"] if new else "none"}

    def _verdicts(self, name):
        if name == "webhook":
            return self.posted
        if name == "JSONL":
            return self.file.read_bytes().splitlines() if self.file.exists() else []
        return [body for topic, body, _ in self._listener.messages if topic.endswith("/verdict")]

    def _make_handler(self):
        posted = self.posted

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                posted.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        return Handler


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
            until_ok(consumers, functools.partial(until, deadline_s=30))
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
        assert seconds(row["T / s"]) > 0
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
        by_s = time.monotonic() + seconds(cells["T / s"])
        seen = consumers.see()
        while not matches(expected, seen):
            assert time.monotonic() < by_s, f"expected {expected}, seen {seen}"
            time.sleep(0.02)
            seen = consumers.see()
        time.sleep(0.2)
        assert matches({"Modbus": expected["Modbus"]}, consumers.see()), "it did not stay so"


def matches(expected, seen):
    return all(cells.items() <= seen[column].items() for column, cells in expected.items())
