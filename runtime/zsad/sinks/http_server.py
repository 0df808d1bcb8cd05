"""An HTTP server that a careless or hostile caller cannot wear out."""

from __future__ import annotations

import contextlib
import hmac
import http.server
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from zsad.sinks.answers import ROUTES, Answer, Snapshot
from zsad.sinks.config import ServerConfig
from zsad.sinks.pulse import Pulse

_log = logging.getLogger(__name__)

_FULL = b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
_JOIN_S = 1.0
_PAUSE_S = 0.1


@dataclass
class _Connection:
    """A caller.

    Attributes:
        thread: What serves it.
        since_s: When it came, by the monotonic clock.
        asked: Whether its request is complete, so that it is being answered.
    """

    thread: threading.Thread
    since_s: float
    asked: bool = False


class BoundedServer(socketserver.TCPServer):
    """One thread per connection, up to a limit, each for a limited time."""

    allow_reuse_address = True
    request_queue_size = 16

    def __init__(
        self,
        config: ServerConfig,
        pulse: Pulse,
        snapshot: Snapshot,
        token: str | None,
    ) -> None:
        """Bind and listen.

        Raises:
            OSError: The address is taken or not ours.
        """
        self.config = config
        self.pulse = pulse
        self.snapshot = snapshot
        self.token = token
        self._lock = threading.Lock()
        self._open: dict[socket.socket, _Connection] = {}  # oldest first
        if ":" in config.host:
            self.address_family = socket.AF_INET6
        super().__init__((config.host, config.port), StatusHandler)

    def get_request(self) -> Any:
        """Accept a connection; without a descriptor to spare, do not ask for it without pause."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_PAUSE_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread; where there are enough, in place of an idle one."""
        thread = threading.Thread(
            target=self._serve, args=(request, client_address), name="status-request", daemon=True
        )
        self._make_room()
        with self._lock:
            full = len(self._open) >= self.config.max_connections
            if not full:
                self._open[request] = _Connection(thread, time.monotonic())
        if not full:
            try:
                thread.start()
            except RuntimeError:  # the machine gives no more threads
                with self._lock:
                    self._open.pop(request, None)
                raise
            return
        with contextlib.suppress(OSError):
            request.settimeout(_JOIN_S)
            request.sendall(_FULL)
        self.shutdown_request(request)

    def asked(self, request: Any) -> None:
        """Note that a caller has asked, and is idle no more."""
        with self._lock:
            if (connection := self._open.get(request)) is not None:
                connection.asked = True

    def service_actions(self) -> None:
        """Watch the line between requests, and end connections that take too long as a whole."""
        self.pulse.read()
        limit_s = time.monotonic() - 2 * self.config.timeout_s
        self._end(lambda each: each.since_s < limit_s)

    def server_close(self) -> None:
        """Stop listening, end every connection and wait for its thread."""
        super().server_close()
        for thread in self._end(lambda each: True):
            thread.join(_JOIN_S)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong; a caller that hung up is nothing to speak of."""
        if isinstance(sys.exc_info()[1], OSError):
            _log.debug("a caller of the status server hung up")
        else:
            _log.exception("the status server failed")

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            with self._lock:
                self._open.pop(request, None)
            self.shutdown_request(request)

    def _make_room(self) -> None:
        """End the connection that has been idle longest, where there are enough of them."""
        with self._lock:
            full = len(self._open) >= self.config.max_connections
            idle = next((each for each in self._open.values() if not each.asked), None)
        if full and idle is not None:
            for thread in self._end(lambda each: each is idle):
                thread.join(_JOIN_S)

    def _end(self, chosen: Callable[[_Connection], bool]) -> list[threading.Thread]:
        with self._lock:
            ended = [(request, each) for request, each in self._open.items() if chosen(each)]
            for request, _ in ended:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)
        return [each.thread for _, each in ended]


class StatusHandler(http.server.BaseHTTPRequestHandler):
    """Answers from a fixed table; a path is a key of it and never a name of a file."""

    server: BoundedServer
    server_version = "zsad"
    sys_version = ""

    def setup(self) -> None:
        """Give every step of the request its limit."""
        super().setup()
        self.connection.settimeout(self.server.config.timeout_s)

    def do_GET(self) -> None:
        """Answer."""
        self.server.asked(self.request)
        self._send(self._answer())

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Keep requests out of standard error, and what a caller sent out of our log."""

    def _answer(self) -> Answer:
        if not self._is_allowed():
            return Answer(401, b"send the token as Authorization: Bearer\n")
        try:
            path = urlsplit(self.path).path
        except ValueError:
            return Answer(400, b"this is no address\n")
        make = ROUTES.get(path)
        if make is None:
            return Answer(404, b"there is " + " ".join(ROUTES).encode() + b"\n")
        try:
            return make(self.server.pulse.read(), self.server.snapshot)
        except Exception:
            _log.exception("the status server cannot answer %s", path)
            return Answer(500, b"this failed; the log says how\n")

    def _is_allowed(self) -> bool:
        if self.server.token is None:
            return True
        given = self.headers.get("Authorization", "").encode()
        return hmac.compare_digest(given, f"Bearer {self.server.token}".encode())

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if answer.status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
