"""Stands between FFmpeg and an RTSP server, and ends the stream where its pictures change size.

OpenCV takes the size once, when it opens a stream, and brings every later picture to it: version 5
scales it, version 4 reads beyond it. Nothing that OpenCV offers says so.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import ssl
import threading
import time
import traceback
from urllib.parse import urlsplit

from zsad.credentials import mask_credentials
from zsad.sources.health import Cause
from zsad.sources.rtsp_probe import connect_rtsp, why_not
from zsad.sources.rtsp_watch import RtspWatch
from zsad.sources.stream import StreamError

LOG = logging.getLogger(__name__)

_BLOCK = 1 << 18
_JOIN_S = 2.0
_PARTING_S = 0.5


class RtspRelay:
    """One connection to a server, which FFmpeg makes through this process.

    Requests and answers pass as they are, as through a forwarded port.

    Attributes:
        address: What FFmpeg is to open instead.
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        """Connect to the server, and wait for FFmpeg in a thread of its own.

        Args:
            address: The `rtsp://` or `rtsps://` URL, credentials included.
            timeout_s: For connecting.

        Raises:
            StreamError: There is no connection.
        """
        url = urlsplit(address)
        try:
            self._server = connect_rtsp(url, time.monotonic() + timeout_s)
        except OSError as error:
            raise why_not(error, url, timeout_s) from None
        self._server.settimeout(None)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._wake, self._woken = socket.socketpair()
        self._client: socket.socket | None = None
        user = url.netloc.rpartition("@")[0]
        place = f"{user}@" if user else ""
        place += f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.address = url._replace(scheme="rtsp", netloc=place).geturl()
        self._watch = RtspWatch()
        self._silent = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"rtsp relay {url.hostname}", daemon=True
        )
        self._thread.start()

    @property
    def note(self) -> str:
        """Whether a change of size is seen, for a person."""
        unwatched = self._watch.unwatched
        if unwatched is None:
            return "a change of size is noticed"
        return f"a change of size goes unnoticed, as {unwatched}"

    @property
    def change(self) -> StreamError | None:
        """Why the stream was ended here; None where it was not."""
        if self._watch.change is None:
            return None
        before, after = (f"{width}x{height}" for width, height in self._watch.change)
        detail = f"its pictures changed from {before} to {after}, so it is opened anew"
        return StreamError(Cause.FAILED, detail)

    def end(self) -> None:
        """Have FFmpeg see the stream's end, so that its read returns; safe from any thread."""
        self._silent.set()
        # Not the other direction: FFmpeg still takes leave of the server.
        with contextlib.suppress(OSError):
            if self._client is not None:
                self._client.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End both connections and the thread; closing twice does no harm."""
        if self._client is not None:
            self._thread.join(_PARTING_S)  # FFmpeg closed its end: what it said last goes out
        for connection in (self._wake, self._server, self._client):
            with contextlib.suppress(OSError):
                if connection is not None:
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(_JOIN_S)

    # What follows runs in the relay's thread.

    def _run(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                for waited in (self._listener, self._server, self._woken):
                    selector.register(waited, selectors.EVENT_READ)
                while all(self._move(selector, key.fileobj) for key, _ in selector.select()):
                    pass
        except OSError as error:
            LOG.debug("rtsp relay: %s", mask_credentials(str(error)))
        except Exception:  # nothing may end the thread without a word
            LOG.error("rtsp relay: %s", mask_credentials(traceback.format_exc()))
        finally:
            for connection in (self._listener, self._server, self._client, self._wake, self._woken):
                if connection is not None:
                    connection.close()

    def _move(self, selector: selectors.BaseSelector, ready: object) -> bool:
        """Move on what is there to read; return whether anything may still come."""
        if ready is self._listener:
            self._client, _ = self._listener.accept()
            # Or the last packet of a picture waits for FFmpeg's receipt of those before, 40 ms.
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.unregister(self._listener)
            self._listener.close()  # who else connects is refused, and does not wait
            selector.register(self._client, selectors.EVENT_READ)
            return True
        if ready is self._server:
            return self._from_server(selector)
        if self._client is None or ready is not self._client:
            return False
        request = self._client.recv(_BLOCK)
        self._server.sendall(request)
        return bool(request)

    def _from_server(self, selector: selectors.BaseSelector) -> bool:
        if (received := _received(self._server)) is None:
            return True
        self._answer(self._watch.pass_on(received) if received else self._watch.rest())
        if self._watch.change is not None:
            self.end()
        if not received:
            selector.unregister(self._server)
            self.end()
        return bool(received) or self._client is not None

    def _answer(self, passed: bytes) -> None:
        if self._client is None or self._silent.is_set():
            return
        try:
            self._client.sendall(passed)
        except OSError:
            self._silent.set()  # FFmpeg is gone, but what it said last still waits to be read


def _received(connection: socket.socket) -> bytes | None:
    """What has come; nothing at the end, None where it is only TLS's own business."""
    connection.settimeout(0)
    try:
        received = connection.recv(_BLOCK)
        # What is decrypted already, no selector sees.
        while isinstance(connection, ssl.SSLSocket) and (waiting := connection.pending()):
            received += connection.recv(waiting)
    except (ssl.SSLWantReadError, BlockingIOError):
        return None
    finally:
        connection.settimeout(None)
    return received
