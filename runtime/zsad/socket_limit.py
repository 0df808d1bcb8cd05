"""Limits for a whole conversation: a socket's own time-out is for each byte of it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator


@contextlib.contextmanager
def limited(sock: socket.socket, seconds: float, name: str) -> Iterator[None]:
    """Break a connection that takes too long as a whole.

    Args:
        sock: The connection.
        seconds: How long the block may take.
        name: Of the thread that watches over it.

    Raises:
        TimeoutError: It took longer; what was read by then is no answer.
    """
    broken_off = threading.Event()

    def break_off() -> None:
        broken_off.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, break_off)
    timer.name = name
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not broken_off.is_set():
            raise
    finally:
        timer.cancel()
        timer.join()
    if broken_off.is_set():
        raise TimeoutError(f"no whole answer within {seconds:g} s")


def connect(
    host: str, port: int, seconds: float, context: ssl.SSLContext | None = None
) -> socket.socket:
    """Connect, and agree on encryption where there is a context, within a time for all of it.

    Only a look-up of the name takes as long as the resolver lets it.

    Args:
        host: A name or an address.
        port: The port.
        seconds: How long it may take; the time-out of each step on the socket afterwards, too.
        context: Of the encryption; None for a plain connection.

    Raises:
        TimeoutError: It took longer.
        OSError: There is no such host, it refuses, or its certificate is not to be trusted.
    """
    deadline_s = time.monotonic() + seconds
    sock = _connect_plain(host, port, deadline_s)
    try:
        # Small messages would wait for each other's receipt.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock.settimeout(_left_s(deadline_s))  # which Python takes for the handshake as a whole
            sock = context.wrap_socket(sock, server_hostname=host)
        sock.settimeout(seconds)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_plain(host: str, port: int, deadline_s: float) -> socket.socket:
    """Try one address after the other; none may use up the time of those behind it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failed = OSError(f"{host} has no address")
    for left, (family, kind, protocol, _, address) in zip(
        range(len(found), 0, -1), found, strict=True
    ):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError:  # as where IPv6 is switched off
            continue
        try:
            sock.settimeout(_left_s(deadline_s) / left)
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            failed = error
    raise failed


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("no connection in time")
    return left_s
