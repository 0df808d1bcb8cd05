"""The MQTT sink in front of what only pretends to be a broker."""

import contextlib
import socket
import threading
import time

import pytest
from fake_outbox import FakeLine, FakeOutbox

from zsad.backoff import BackoffConfig
from zsad.sinks.base import SinkContext
from zsad.sinks.config import MqttConfig, TlsConfig
from zsad.sinks.courier import Courier
from zsad.sinks.mqtt import MqttSink

pytest.importorskip("paho")

SHORT = {"connect_s": 1.0, "ack_s": 1.0, "status_s": 0.3, "valid_s": 1.5, "keepalive_s": 2}
# Paho leaves a socket whose handshake failed to Python to close.
TLS = pytest.param(True, marks=pytest.mark.filterwarnings("ignore::ResourceWarning"), id="tls")


def no_word(connection):
    connection.recv(1 << 16)


def drip_of_a_login(connection):
    for byte in b"\x20\xff\xff\xff\x7f" + b"\x00" * 1000:  # 256 MiB are announced
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def flood(connection):
    connection.sendall(b"\x20\x03\x00\x00\x00")
    while True:  # messages that nobody asked for
        connection.sendall((b"\x30\x08\x00\x01t\x00" + b"12345"[:4]) * 100)


def pongs_alone(connection):
    connection.sendall(b"\x20\x03\x00\x00\x00")
    while True:
        connection.sendall(b"\xd0\x00")
        time.sleep(0.05)


@contextlib.contextmanager
def pretended(say):
    """The port of a server that says the same to everybody, and then holds on."""
    over = threading.Event()

    def hold(connection):
        with connection, contextlib.suppress(OSError):
            say(connection)
            over.wait(20)

    def serve():
        threads = []
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                connection.settimeout(0.5)
                threads.append(threading.Thread(target=hold, args=[connection], name="hold"))
                threads[-1].start()
        for each in threads:
            each.join(5)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        thread = threading.Thread(target=serve, name="pretended")
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join(10)


@pytest.mark.parametrize("tls", [pytest.param(False, id="plain"), TLS])
@pytest.mark.parametrize("say", [no_word, drip_of_a_login, flood, pongs_alone])
def test_it_is_down_and_holds_up_no_stop(until, say, tls):
    outbox = FakeOutbox()
    with pretended(say) as port:
        config = MqttConfig("127.0.0.1", port, tls=TlsConfig() if tls else None, **SHORT)
        sink = MqttSink("broker", config, SinkContext("press-3", FakeLine(outbox).status))
        courier = Courier(sink, outbox, BackoffConfig(0.05, 0.1))
        courier.start()
        outbox.commit()
        until(lambda: " broker 127.0.0.1:" in courier.health.detail)
        assert not courier.health.up and courier.health.backlog == 1
        begun_s = time.monotonic()
        assert courier.stop(3.0)
        assert time.monotonic() - begun_s < 3
