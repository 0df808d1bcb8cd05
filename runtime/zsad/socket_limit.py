"""A limit for a whole conversation: a socket's own time-out is for each byte of it."""

from __future__ import annotations

import contextlib
import socket
import threading
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
