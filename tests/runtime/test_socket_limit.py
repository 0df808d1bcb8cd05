"""Connections that take their time, to a server that is there and never comes to the point."""

import contextlib
import socket
import ssl
import threading
import time

import pytest

from zsad.socket_limit import connect
from zsad.sources import CameraConfig
from zsad.sources.health import Cause
from zsad.sources.mjpeg import HttpOpener
from zsad.sources.rtsp_probe import probe_rtsp
from zsad.sources.stream import StreamError

LIMIT_S = 0.5
RECORD = b"\x16\x03\x03\x40\x00"
"""The head of a TLS record of 16 KiB, of which the first byte is still to come."""


def silent(connection, over):
    over.wait(30)


def dripping(connection, over):
    connection.sendall(RECORD)
    while not over.wait(0.05):
        connection.sendall(b"\x02")


@contextlib.contextmanager
def served(behave):
    """Serve one connection after another with `behave(connection, over)`; give the port."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        behave(connection, over)

        thread = threading.Thread(target=serve, name="served")
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@pytest.fixture(params=[silent, dripping])
def never(request):
    """The port of a server that accepts and never ends its part of the handshake."""
    with served(request.param) as port:
        yield port


def cause_of(address):
    """Return why a camera cannot be opened."""
    if address.startswith("rtsp"):
        return probe_rtsp(address, LIMIT_S).cause
    with pytest.raises(StreamError) as found:
        HttpOpener(CameraConfig("cam", address, open_timeout_s=LIMIT_S)).open(threading.Event())
    return found.value.cause


@contextlib.contextmanager
def within(seconds):
    begun_s = time.monotonic()
    yield
    assert time.monotonic() - begun_s < seconds


def test_a_handshake_that_never_ends_is_given_up(never):
    context = ssl.create_default_context()
    with within(10 * LIMIT_S), pytest.raises(TimeoutError):
        connect("127.0.0.1", never, LIMIT_S, context)


def test_no_camera_is_held_by_one(never):
    for scheme in ("https", "rtsps"):
        with within(10 * LIMIT_S):
            assert cause_of(f"{scheme}://127.0.0.1:{never}/live") is Cause.TIMEOUT


@pytest.mark.parametrize(("scheme", "protocol"), [("http", b"HTTP/1.1"), ("rtsp", b"RTSP/1.0")])
def test_a_camera_has_its_time_once_however_many_requests_it_wants(scheme, protocol):
    """It thinks about each for more than half of it, and would refuse the password."""

    def think(connection, over):
        connection.recv(4096)
        over.wait(0.7 * LIMIT_S)
        challenge = b"WWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(protocol + b" 401 Unauthorized\r\n" + challenge)

    with served(think) as port, within(10 * LIMIT_S):
        assert cause_of(f"{scheme}://admin:secret@127.0.0.1:{port}/live") is Cause.TIMEOUT


def test_an_address_that_swallows_all_leaves_time_for_the_next(monkeypatch):
    """As where a camera's name has an IPv6 address that no router of the plant knows."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        full_at = full.getsockname()
        with contextlib.ExitStack() as held, socket.create_server(("127.0.0.1", 0)) as good:
            for _ in range(3):  # Linux keeps one more than it was asked to, and drops the others
                waiting = held.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full_at)
            good_at = good.getsockname()
            entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            both = [(*entry, full_at), (*entry, good_at)]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
            with within(10 * LIMIT_S), connect("camera", 80, 2 * LIMIT_S) as sock:
                assert sock.getpeername() == good_at
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both[:1])
            with within(10 * LIMIT_S), pytest.raises(TimeoutError):
                connect("camera", 80, LIMIT_S)


def test_an_address_of_a_kind_that_this_machine_lacks_is_passed_over(monkeypatch):
    """As where IPv6 is switched off and a name has an address of it all the same."""
    lacking = (9999, socket.SOCK_STREAM, 6, "", ("::1", 80))
    with socket.create_server(("127.0.0.1", 0)) as good:
        fit = (socket.AF_INET, socket.SOCK_STREAM, 6, "", good.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [lacking, fit])
        with connect("camera", 80, LIMIT_S) as sock:
            assert sock.getpeername() == good.getsockname()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [fit, lacking])
    with pytest.raises(ConnectionRefusedError):
        connect("camera", 80, LIMIT_S)


def test_an_ipv6_address_without_a_port_has_the_standard_one(monkeypatch):
    asked = []

    def refuse(host, port, *_, **__):
        asked.append((host, port))
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for scheme in ("http", "https"):
        assert cause_of(f"{scheme}://[::1]/live") is Cause.REFUSED
    assert asked == [("::1", 80), ("::1", 443)]
