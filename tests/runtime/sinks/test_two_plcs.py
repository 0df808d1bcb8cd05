"""Two PLCs at one line, and one PLC at two lines, as real clients over the wire."""

import errno
import socket
from dataclasses import replace

import pytest
from broker_rig import free_port
from fake_outbox import FakeLine, FakeOutbox

from zsad.errors import InputError
from zsad.sinks import SinksConfig, open_sinks, stop_couriers
from zsad.sinks.base import SinkContext
from zsad.sinks.config import ModbusConfig
from zsad.sinks.modbus import ModbusSink
from zsad.sinks.registers import SIZE, Flag, Register

pytest.importorskip("pymodbus")


class Rig:
    """A line with two Modbus sinks, `left` and `right`; a part's verdict comes when it is asked."""

    def __init__(self, **options):
        self.outbox = FakeOutbox()
        self.triggered = []
        self.ports = {"left": free_port(), "right": free_port()}
        modbus = {name: ModbusConfig(port=port, **options) for name, port in self.ports.items()}
        line = FakeLine(self.outbox)
        self.couriers = open_sinks(
            SinksConfig(modbus=modbus), self.outbox, line.status, trigger=self.trigger
        )
        self.clients = {}

    def trigger(self, part):
        if part in self.triggered:
            return False  # as a line refuses a part whose id is open
        self.triggered.append(part)
        return True

    def start(self, until):
        from pymodbus.client import ModbusTcpClient

        for courier in self.couriers:
            courier.start()
        until(lambda: all(courier.health.up for courier in self.couriers))
        for name, port in self.ports.items():
            self.clients[name] = ModbusTcpClient("127.0.0.1", port=port, timeout=2, retries=0)
            assert self.clients[name].connect()

    def stop(self):
        for client in self.clients.values():
            client.close()
        assert stop_couriers(self.couriers, 5.0)

    def image(self, name):
        answer = self.clients[name].read_input_registers(0, count=SIZE)
        assert not answer.isError(), answer
        return answer.registers

    def pull(self, name, number):
        client = self.clients[name]
        assert not client.write_registers(2, [0, number]).isError()
        taken = not client.write_coil(0, True).isError()
        client.write_coil(0, False)
        return taken

    def result(self, name, until):
        """Wait for a result, acknowledge it and return (id, part, its flag)."""
        until(lambda: self.image(name)[Register.FLAGS] & Flag.RESULT_VALID)
        image = self.image(name)
        self.clients[name].write_registers(0, image[Register.RESULT_ID : Register.RESULT_ID + 2])
        verdict = Flag(image[Register.FLAGS]) & (Flag.OK | Flag.NG)
        return image[Register.RESULT_ID + 1], image[Register.PART + 1], verdict


@pytest.fixture
def rig(until):
    made = Rig()
    made.start(until)
    yield made
    made.stop()


def test_one_verdict_has_one_number_at_both(rig, until):
    rig.outbox.commit("NG")
    rig.outbox.commit("OK")
    seen = {name: [rig.result(name, until) for _ in range(2)] for name in ("left", "right")}
    assert seen["left"] == seen["right"] == [(1, 0, Flag.NG), (2, 0, Flag.OK)]


@pytest.mark.parametrize("number", [4711, 0])
def test_each_plc_knows_its_own_part_though_both_count_alike(rig, until, number):
    assert rig.pull("left", number) and rig.pull("right", number)
    left, right = rig.triggered
    assert left != right
    rig.outbox.commit("NG", part=right, triggered=True)
    assert rig.result("left", until) == (1, 0, Flag.NG), "the other one's part"
    assert rig.image("left")[Register.FLAGS] & Flag.BUSY
    assert rig.result("right", until) == (1, number, Flag.NG)
    assert not rig.image("right")[Register.FLAGS] & Flag.BUSY
    rig.outbox.commit("OK", part=left, triggered=True)
    assert rig.result("left", until) == (2, number, Flag.OK)
    assert rig.result("right", until) == (2, 0, Flag.OK)


def test_a_plc_of_two_lines_sees_which_one_it_reads(until):
    lines = [Rig(station=7, unit=7), Rig(station=8, unit=8)]
    try:
        for each in lines:
            each.start(until)
            each.outbox.commit("OK")
        seen = []
        for each, unit in zip(lines, (7, 8), strict=True):
            client = each.clients["left"]

            def image(client=client, unit=unit):
                return client.read_input_registers(0, count=SIZE, device_id=unit).registers

            until(lambda: image()[Register.FLAGS] & Flag.RESULT_VALID)
            seen.append((image()[Register.STATION], image()[Register.RESULT_ID + 1]))
        assert seen == [(7, 1), (8, 1)]
        other = lines[0].clients["left"].read_input_registers(0, count=SIZE, device_id=8)
        assert other.isError() and other.exception_code
    finally:
        for each in lines:
            each.stop()


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ("127.0.0.1", "127.0.0.1", "would both listen on port 5020 of 127.0.0.1"),
        ("0.0.0.0", "127.0.0.1", "would both listen on port 5020"),
        ("0.0.0.0", "plc-side", "would both listen on port 5020"),
        ("localhost", "127.0.0.1", "would both listen on port 5020"),
        ("::", "::1", "would both listen on port 5020"),
        ("::1", "0:0:0:0:0:0:0:1", "would both listen on port 5020"),
        ("127.0.0.1", "127.0.0.2", None),
        ("0.0.0.0", "::1", None),
        ("0.0.0.0", "::", None),
        ("127.0.0.1", "::", None),
    ],
)
def test_two_that_would_listen_at_one_place_are_refused(one, other, message):
    config = ModbusConfig(host=one, allow_remote=True)
    modbus = {"a": config, "b": replace(config, host=other)}
    if message is None:
        assert SinksConfig(modbus=modbus).modbus == modbus
        return
    with pytest.raises(InputError, match=message):
        SinksConfig(modbus=modbus)


def has_ipv6():
    with socket.socket(socket.AF_INET6) as probe:
        return probe.connect_ex(("::1", 9)) != errno.EADDRNOTAVAIL


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("other", ["::", "::1"])
def test_what_passes_does_listen_side_by_side(other):
    """`::` is IPv6 alone, though the system would have it take in IPv4."""
    from pymodbus.client import ModbusTcpClient

    outbox = FakeOutbox()
    status = FakeLine(outbox).status
    config = ModbusConfig(host="0.0.0.0", port=free_port(), allow_remote=True)
    modbus = SinksConfig(modbus={"a": config, "b": replace(config, host=other)}).modbus
    sinks = []
    try:
        for name, each in modbus.items():
            sinks.append(ModbusSink(name, each, SinkContext("press", status)))
            sinks[-1].open()
        for host in ("127.0.0.1", "::1"):
            with ModbusTcpClient(host, port=config.port, timeout=2, retries=0) as client:
                assert not client.read_input_registers(0, count=SIZE).isError()
    finally:
        for sink in sinks:
            sink.close()
