"""Verdicts posted to a web server, signed."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
import time
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from zsad.errors import InputError
from zsad.http_connection import connect_http
from zsad.line.record import VerdictRecord
from zsad.sinks.base import RefusedError, SinkCause, SinkError, sink_error
from zsad.sinks.config import TlsConfig, WebhookConfig
from zsad.sinks.payload import verdict_bytes
from zsad.socket_limit import limited

SIGNATURE = "Zsad-Signature"
TIMESTAMP = "Zsad-Timestamp"
DELIVERY = "Zsad-Delivery"

_NOT_THIS_ONE = {400, 409, 413, 422}
"""Answers that are about the body; any other 4xx is about address or credentials, which a person
mends, and until then nothing is lost."""
_LONGEST_RETRY_S = 300.0


class WebhookSink:
    """Posts one verdict, or an array of several, per request over a kept connection."""

    def __init__(self, name: str, config: WebhookConfig) -> None:
        """Name the sink; nothing is sent before it is given records.

        Raises:
            InputError: A secret or a certificate cannot be read.
        """
        self.name = name
        self._config = config
        self._url = urlsplit(config.url)
        self._what = f"{self._url.scheme}://{self._url.netloc}"
        self._connection: http.client.HTTPConnection | None = None
        self._single_until = 0  # seq up to which a refused array is sent one by one
        self._headers(b"")  # what is wrong with a secret is to be known at the start,
        self._context()  # or with a certificate

    def open(self) -> None:
        """Do nothing: only a request shows whether a web server is there."""

    def deliver(self, records: Sequence[VerdictRecord]) -> int:
        """Post the first record, or as many as fit a batch.

        Raises:
            RefusedError: The server understands and will not have the first record.
            SinkError: It cannot be reached, or is not well.
        """
        batch = records[: self._config.batch]
        if batch[0].seq <= self._single_until:
            batch = batch[:1]
        status, retry_s = self._post(batch)
        if 200 <= status < 300:
            return len(batch)
        if status in _NOT_THIS_ONE and len(batch) > 1:
            self._single_until = batch[-1].seq
            return self.deliver(records)
        detail = f"{self._what} answered {status} to verdict {batch[0].seq}"
        if status in _NOT_THIS_ONE:
            raise RefusedError(0, detail)
        if status in (401, 403):
            raise SinkError(SinkCause.AUTH, detail, retry_s)
        if 300 <= status < 400:
            detail += ": it redirects, which is not followed: give the address it redirects to"
        raise SinkError(SinkCause.REFUSED, detail, retry_s)

    def close(self) -> None:
        """Close the connection; closing twice does no harm."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, batch: Sequence[VerdictRecord]) -> tuple[int, float | None]:
        """Post a batch; return the answer's status and after how long it asks to be tried again."""
        lines = [verdict_bytes(record) for record in batch]
        body = lines[0] if self._config.batch == 1 else b"[" + b",".join(lines) + b"]"
        headers = self._headers(body) | {DELIVERY: f"{batch[0].line}:{batch[0].seq}"}
        target = self._url.path or "/"
        if self._url.query:
            target += f"?{self._url.query}"
        try:
            connection = self._connected()
            with limited(connection.sock, 2 * self._config.timeout_s, "webhook-limit"):
                connection.request("POST", target, body, headers)
                answer = connection.getresponse()
                retry_s = _retry_after(answer.getheader("Retry-After"))
                answer.read(1 << 16)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._error(error) from None
        if not answer.isclosed():  # more than anyone wants to read is left of it
            self.close()
        return answer.status, retry_s

    def _connected(self) -> http.client.HTTPConnection:
        """Return an open connection; one that the server has closed meanwhile is replaced."""
        if self._connection is not None and _is_dead(self._connection.sock):
            self.close()
        if self._connection is None:
            self._connection = self._connect(self._url)
        return self._connection

    def _connect(self, url: SplitResult) -> http.client.HTTPConnection:
        return connect_http(url, self._config.timeout_s, self._context())

    def _context(self) -> ssl.SSLContext | None:
        """Return what a server is verified by, read anew: an authority's file may be replaced."""
        if self._url.scheme != "https":
            return None
        from zsad.sinks.broker import tls_context

        return tls_context(TlsConfig(ca=self._config.ca))

    def _headers(self, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "zsad"}
        if self._config.bearer is not None:
            token = self._config.bearer.read()
            if not (token.isascii() and token.isprintable()):
                raise InputError(
                    f"webhook: the token in {self._config.bearer} holds what no header can:"
                    " one line of ASCII is wanted"
                )
            headers["Authorization"] = f"Bearer {token}"
        if self._config.secret is not None:
            stamp = str(int(time.time()))
            headers[TIMESTAMP] = stamp
            headers[SIGNATURE] = sign(self._config.secret.read(), stamp, body)
        return headers

    def _error(self, error: Exception) -> SinkError:
        if isinstance(error, OSError) and not isinstance(error, http.client.HTTPException):
            return sink_error(error, self._what)
        said = str(error) or type(error).__name__
        return SinkError(SinkCause.LOST, f"{self._what} gave no proper answer: {said}")


def sign(secret: str, stamp: str, body: bytes) -> str:
    """Return the signature of a body: `v1=` and HMAC-SHA256, in hex, of `STAMP.BODY`.

    Args:
        secret: The shared key.
        stamp: The value of the header `Zsad-Timestamp`, in seconds since 1970. A receiver refuses
            one that is minutes old, or a recorded request could be sent again.
        body: The request's body.
    """
    message = stamp.encode() + b"." + body
    return "v1=" + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def _is_dead(sock: socket.socket | None) -> bool:
    if sock is None:
        return True
    timeout_s = sock.gettimeout()
    try:
        sock.setblocking(False)
        # Anything that comes unasked between two requests is an end, or as good as one. TLS sockets
        # cannot peek, and their session tickets may come at any time: the request will tell.
        return not hasattr(sock, "cipher") and sock.recv(1, socket.MSG_PEEK) is not None
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        with contextlib.suppress(OSError):
            sock.settimeout(timeout_s)


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After asks for, within reason; its date form is left out."""
    if value is None or not value.strip().isdecimal():
        return None
    return min(max(float(value), 1.0), _LONGEST_RETRY_S)
