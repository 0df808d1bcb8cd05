"""Every kind of sink and the status server on one pretended line; alone, a process to kill."""

import json
import sys
import time
from pathlib import Path

from fake_outbox import FakeLine, FakeOutbox
from waiting import wait_until

from zsad.line.status import LineState
from zsad.schema import from_json
from zsad.sinks import ServerConfig, SinksConfig, StatusServer, open_sinks, stop_couriers

STALE_S, VALID_S, KEEPALIVE_S = 0.8, 2.0, 1


class SinksRig:
    """A running line named `name`, with what each consumer needs to find it."""

    def __init__(self, name, folder, broker_port, webhook_url, modbus_port, http_port):
        self.outbox = FakeOutbox()
        self.line = FakeLine(self.outbox)
        self._status = {"line": name}
        self.line.changes = self._status
        self._sinks = from_json(
            SinksConfig,
            {
                "jsonl": {"file": {"path": str(Path(folder) / "verdicts.jsonl")}},
                "mqtt": {
                    "broker": {
                        "host": "127.0.0.1", "port": broker_port, "keepalive_s": KEEPALIVE_S,
                        "connect_s": 2.0, "ack_s": 2.0, "status_s": 0.5, "stale_s": STALE_S,
                    }
                },
                "webhook": {"hook": {"url": webhook_url, "timeout_s": 1.0}},
                "modbus": {"plc": {"port": modbus_port, "valid_s": VALID_S, "stale_s": STALE_S}},
                "backoff": {"first_s": 0.05, "cap_s": 0.1},
            },
            "rig",
        )  # fmt: skip
        self._server = ServerConfig(port=http_port, timeout_s=1.0, stale_s=STALE_S)
        self.couriers = []
        self.server = None

    def start(self):
        self.couriers = open_sinks(self._sinks, self.outbox, self.line.status)
        for courier in self.couriers:
            courier.start()
        self.server = StatusServer(self._server, self.line.status, lambda: b"\xff\xd8")
        self.server.start()

    def wait_until_up(self):
        """Wait until a result would reach every sink at once."""

        def healths():
            return [courier.health for courier in self.couriers]

        wait_until(lambda: all(health.up for health in healths()), 30, healths)

    def say(self, **changes):
        """Have the line say something else of itself."""
        self.line.changes = {**self._status, **changes}

    def fault(self, reason):
        self.say(state=LineState.FAULT, reasons=(reason,))

    def stop(self):
        assert stop_couriers(self.couriers, 5.0)
        self.couriers = []
        if self.server is not None:
            self.server.stop()


if __name__ == "__main__":
    rig = SinksRig(**json.loads(sys.argv[1]))
    rig.start()
    rig.wait_until_up()
    rig.outbox.commit("OK")
    time.sleep(600)
