"""The table of docs/failsafe.md, and one consumer of each kind to see what it speaks of."""

import functools
import http.server
import json
import re
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from broker_rig import Listener, free_port

from zsad.sinks.registers import Flag, Register

TABLE = Path(__file__).parents[2] / "docs" / "failsafe.md"
COLUMNS = ("Modbus", "MQTT", "webhook", "JSONL", "HTTP")
NO_ANSWER = {"answer": "none"}
SILENCE_S = 0.3
"""An answer has this long at least, and where none should come it is waited for no longer."""


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


def seconds(cell, options):
    """Return the number that a sum of numbers and options is."""
    total = 0.0
    for term in cell.strip("`").split("+"):
        names = [each.strip() for each in term.split("*")]
        factors = (options[name] if name in options else float(name) for name in names)
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

    def see(self, by_s=None):
        """Return what each sees; those that ask wait for an answer until then, or for 5 s."""
        by_s = time.monotonic() + 5.0 if by_s is None else by_s
        # What may take longest comes first, so that the rest is not old when it comes.
        seen = {"HTTP": ask_http(self.ports["http_port"], by_s)}
        return seen | {
            "Modbus": self._see_modbus(patience_s(by_s)),
            "MQTT": self._see_mqtt(),
            "webhook": self._newest("webhook"),
            "JSONL": self._newest("JSONL"),
        }

    def _ask(self, question, timeout_s=5.0):
        from pymodbus.client import ModbusTcpClient
        from pymodbus.exceptions import ModbusException

        if self._plc is None:
            self._plc = ModbusTcpClient("127.0.0.1", port=self.ports["modbus_port"], retries=0)
        self._plc.comm_params.timeout_connect = timeout_s  # of an answer, too
        try:
            if self._plc.connected or self._plc.connect():
                answer = question(self._plc)
                return None if answer.isError() else answer
        except (ModbusException, OSError):
            self._plc.close()
        return None

    def _see_modbus(self, timeout_s):
        answer = self._ask(lambda plc: plc.read_input_registers(0, count=13), timeout_s)
        if answer is None:
            return NO_ANSWER
        flags = answer.registers[Register.FLAGS]
        return {flag.name: str(int(bool(flags & flag))) for flag in Flag}

    def _see_mqtt(self):
        seen = self._newest("MQTT")
        if self.broker.is_dead:
            return NO_ANSWER
        if not self._listener.states:
            return seen
        state = self._listener.states[-1]
        return {**seen, "state": state["state"], "trusted": str(state["trusted"]).lower()}

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


def patience_s(by_s):
    """Return how long an answer may take that has to be there by then."""
    return max(SILENCE_S, by_s - time.monotonic())


def ask_http(port, by_s):
    """Return the status server's code for each path."""
    codes = {}
    for path in ("/healthz", "/readyz", "/snapshot.jpg"):
        url = f"http://127.0.0.1:{port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=patience_s(by_s)) as answer:
                codes[path] = str(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                codes[path] = str(error.code)
        except OSError:
            return NO_ANSWER
    return codes


def assert_seen(consumers, expected, by_s, meanwhile=lambda: None):
    """Wait until every consumer sees what a row says, which it must by then, and that it stays.

    An answer may take what is left of the time, so that a loaded machine fails nothing; one that
    never comes is none when the time is over.
    """
    silent = NO_ANSWER in (expected["Modbus"], expected["HTTP"])
    seen = consumers.see(0.0 if silent else by_s)
    while not matches(expected, seen):
        assert time.monotonic() < by_s, f"expected {expected}, seen {seen}"
        meanwhile()
        time.sleep(0.02)
        seen = consumers.see(0.0 if silent else by_s)
    time.sleep(0.2)
    stayed = consumers.see(0.0 if silent else None)
    assert matches({"Modbus": expected["Modbus"]}, stayed), "it did not stay so"


def matches(expected, seen):
    return all(cells.items() <= seen[column].items() for column, cells in expected.items())
