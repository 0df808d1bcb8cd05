"""The Modbus server, asked by a real client."""

import random
import select
import socket
import struct
import threading

import pytest
from broker_rig import free_port
from fake_outbox import FakeLine, FakeOutbox

from zsad.backoff import BackoffConfig
from zsad.errors import InputError
from zsad.sinks.base import SinkContext
from zsad.sinks.config import ModbusConfig
from zsad.sinks.courier import Courier
from zsad.sinks.modbus import ModbusSink
from zsad.sinks.registers import SIZE, Flag, Register

pytest.importorskip("pymodbus")


@pytest.fixture
def rig():
    """Return an object that makes a courier with a Modbus server, and clients of it."""

    class Rig:
        def __init__(self):
            self.outbox = FakeOutbox()
            self.line = FakeLine(self.outbox)
            self.port = free_port()
            self._ends = []

        def carry(self, trigger=None, **options):
            config = ModbusConfig(port=self.port, **options)
            context = SinkContext("press-3", self.line.status, trigger=trigger)
            courier = Courier(ModbusSink("plc", config, context), self.outbox, BackoffConfig())
            self._ends.append(lambda: courier.stop(5.0))
            courier.start()
            return courier

        def client(self):
            from pymodbus.client import ModbusTcpClient

            client = ModbusTcpClient("127.0.0.1", port=self.port, timeout=2, retries=0)
            self._ends.append(client.close)
            assert client.connect()
            return client

    made = Rig()
    yield made
    for end in reversed(made._ends):
        end()


def registers(client):
    answer = client.read_input_registers(0, count=SIZE)
    assert not answer.isError(), answer
    return answer.registers


def flags(client):
    return Flag(registers(client)[Register.FLAGS])


def acknowledge(client, number):
    assert not client.write_registers(0, [number >> 16, number & 0xFFFF]).isError()


def test_a_plc_takes_every_result_in_order(rig, until):
    courier = rig.carry()
    until(lambda: courier.health.up)
    client, taken = rig.client(), []
    for verdict in ("OK", "NG", "NO_RESULT", "OK", "OK"):
        rig.outbox.commit(verdict)
    while len(taken) < 5:
        until(lambda: flags(client) & Flag.RESULT_VALID)
        image = registers(client)
        number = (image[Register.RESULT_ID] << 16) | image[Register.RESULT_ID + 1]
        taken.append((number, image[Register.RESULT]))
        acknowledge(client, number)
    assert taken == [(1, 1), (2, 2), (3, 3), (4, 1), (5, 1)]
    until(lambda: courier.health.delivered == 5 and courier.health.backlog == 0)


def test_the_bits_are_the_flags(rig, until):
    courier = rig.carry()
    until(lambda: courier.health.up)
    client = rig.client()
    rig.outbox.commit("NG")
    until(lambda: flags(client) & Flag.RESULT_VALID)
    bits = client.read_discrete_inputs(0, count=9).bits[:9]
    named = {flag.name: bit for flag, bit in zip(Flag, bits, strict=True)}
    assert [name for name, bit in named.items() if bit] == ["READY", "RESULT_VALID", "NG"]


def test_a_result_that_nobody_takes_is_trouble_and_stays(rig, until):
    courier = rig.carry(ack_s=0.3, valid_s=0.6)
    until(lambda: courier.health.up)
    client = rig.client()
    rig.outbox.commit("OK")
    rig.outbox.commit("NG")
    until(lambda: courier.health.detail.startswith("unacknowledged: no PLC acknowledged result 1"))
    until(lambda: flags(client) == Flag.EXPIRED)
    assert registers(client)[Register.RESULT_ID + 1] == 1
    assert courier.health.backlog == 2
    acknowledge(client, 1)
    until(lambda: registers(client)[Register.RESULT_ID + 1] == 2)
    acknowledge(client, 2)
    until(lambda: courier.health.up and courier.health.delivered == 2)


def test_a_plc_triggers_a_part_and_gets_its_number_back(rig, until):
    triggered = []

    def trigger(part):
        triggered.append(part)
        threading.Timer(0.1, lambda: rig.outbox.commit("NG", part=part, triggered=True)).start()
        return True

    courier = rig.carry(trigger=trigger)
    until(lambda: courier.health.up)
    client = rig.client()
    client.write_registers(2, [0, 4711])
    assert not client.write_coil(0, True).isError()
    assert flags(client) & Flag.BUSY
    assert client.read_coils(0, count=1).bits[0]
    client.write_coil(0, False)
    until(lambda: flags(client) & Flag.RESULT_VALID)
    assert registers(client)[Register.PART + 1] == 4711
    assert not flags(client) & Flag.BUSY
    assert triggered == ["4711"]


def test_what_a_plc_may_not_write_is_refused(rig, until):
    courier = rig.carry()
    until(lambda: courier.health.up)
    client = rig.client()
    assert client.write_coil(0, True).exception_code == 2, "nothing here can be triggered"
    assert client.write_coil(5, True).exception_code == 2
    assert client.write_register(4, 1).exception_code == 2
    assert client.write_registers(2, [1, 2, 3]).exception_code == 2
    assert client.mask_write_register(address=0).exception_code == 1
    assert client.read_input_registers(0, count=SIZE + 1).exception_code == 2
    assert flags(client) == Flag.READY
    assert client.read_holding_registers(0, count=4).registers == [0, 0, 0, 0]


def test_coils_beside_the_trigger_are_refused_and_trigger_nothing(rig, until):
    triggered = []
    courier = rig.carry(trigger=lambda part: not triggered.append(part))
    until(lambda: courier.health.up)
    client = rig.client()
    for count in (2, 9, 16):
        assert client.write_coils(0, [True] * count).exception_code == 2
    assert triggered == [] and not client.read_coils(0, count=1).bits[0]
    assert not client.write_coils(0, [True]).isError()
    assert len(triggered) == 1 and client.read_coils(0, count=1).bits[0]


def test_a_busy_line_answers_a_trigger_with_busy(rig, until):
    courier = rig.carry(trigger=lambda part: True)
    until(lambda: courier.health.up)
    client = rig.client()
    client.write_coil(0, True)
    client.write_coil(0, False)
    assert client.write_coil(0, True).exception_code == 6


def test_dead_connections_do_not_lock_a_plc_out(rig, until):
    """Not even a burst of them, of which some are displaced before they are set up."""
    courier = rig.carry(max_clients=3)
    until(lambda: courier.health.up)
    dead = [socket.create_connection(("127.0.0.1", rig.port)) for _ in range(40)]
    assert flags(rig.client()) == Flag.READY

    def still_open():
        return [each for each in dead if not select.select([each], [], [], 0)[0]]

    until(lambda: len(still_open()) == 2)
    assert still_open() == dead[-2:]
    for each in dead:
        each.close()


def test_a_plc_that_asks_is_not_displaced_by_those_that_are_silent(rig, until):
    courier = rig.carry(max_clients=3)
    until(lambda: courier.health.up)
    plc, other = rig.client(), rig.client()
    ports = [client.socket.getsockname() for client in (plc, other)]
    flags(other)
    flags(plc)
    silent = [socket.create_connection(("127.0.0.1", rig.port)) for _ in range(10)]
    assert flags(plc) == flags(other) == Flag.READY
    flags(plc)
    assert flags(rig.client()) == flags(rig.client()) == Flag.READY, "the second displaces `other`"
    until(lambda: select.select([other.socket], [], [], 0)[0])
    assert flags(plc) == Flag.READY
    assert [client.socket.getsockname() for client in (plc, other)] == ports
    for each in silent:
        each.close()


def test_noise_on_the_port_changes_nothing(rig, until):
    courier = rig.carry()
    until(lambda: courier.health.up)
    with socket.create_connection(("127.0.0.1", rig.port)) as noisy:
        noisy.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)) * 4)
        rig.outbox.commit("OK")
        client = rig.client()
        until(lambda: flags(client) & Flag.OK)


def test_random_requests_neither_acknowledge_nor_trigger_nor_end_the_server(rig, until):
    """Well-formed frames with random contents; those that would be right are left out."""
    triggered = []
    courier = rig.carry(trigger=lambda part: bool(triggered.append(part)))
    until(lambda: courier.health.up)
    rig.outbox.commit("NG")
    draw = random.Random(5)
    for _ in range(150):
        function = draw.choice([1, 2, 3, 4, 7, 8, 11, 17, 20, 21, 22, 23, 24, 43, 99, 200])
        body = draw.randbytes(draw.randrange(0, 40))
        frame = struct.pack(">HHHBB", 7, draw.choice([0, 0, 0, 9]), len(body) + 2, 1, function)
        with socket.create_connection(("127.0.0.1", rig.port), 2) as noisy:
            noisy.sendall(frame + body)
    client = rig.client()
    until(lambda: flags(client) & Flag.NG)
    assert client.read_holding_registers(0, count=4).registers == [0, 0, 0, 0]
    assert triggered == [] and courier.health.delivered == 0


def test_a_stop_ends_the_connection(rig, until):
    courier = rig.carry()
    until(lambda: courier.health.up)
    client = rig.client()
    rig.outbox.commit("OK")
    until(lambda: flags(client) & Flag.OK)
    assert courier.stop(5.0)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", rig.port), 1).close()
    assert not [t for t in threading.enumerate() if t.name in ("modbus-plc", "courier-plc")]


def test_an_address_that_is_taken_is_known_at_the_start(rig):
    said = rf"cannot listen on 127\.0\.0\.1:{rig.port}: "
    with socket.create_server(("127.0.0.1", rig.port)), pytest.raises(InputError, match=said):
        rig.carry()
