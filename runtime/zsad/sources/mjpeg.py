"""HTTP cameras that send JPEG after JPEG: read directly, so that every fault has its name."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import numpy as np

from zsad.http_connection import connect_http
from zsad.preprocess import MAX_PIXELS
from zsad.socket_limit import limited
from zsad.sources.authorization import Credentials, authorization
from zsad.sources.config import CameraConfig
from zsad.sources.health import Cause
from zsad.sources.multipart import Multipart, is_whole_jpeg, jpeg_size_wh
from zsad.sources.opencv import Offer, UrlOpener
from zsad.sources.stream import Backing, Reading, Stream, StreamError

_BLOCK = 1 << 16


class MjpegStream:
    """The answer of an HTTP camera, `multipart/x-mixed-replace`."""

    paced = True
    rate_hz: float | None = None

    def __init__(self, answer: _Answer, read_timeout_s: float, backing: Backing) -> None:
        """Take over an answer whose body was not read yet."""
        self._answer = answer
        answer.socket.settimeout(read_timeout_s)
        self._read_timeout_s = read_timeout_s
        self._parts = Multipart(str(answer.response.headers.get_param("boundary") or ""))
        self._bodies: deque[bytes] = deque()
        self.backing = backing

    def read(self, timeout_s: float) -> Reading | None:
        """Return the next picture; the time-out is the one it was opened with.

        Raises:
            StreamError: The connection is over, or no whole picture came in time.
        """
        # The socket's own time-out never strikes where single bytes trickle in.
        deadline_s = time.monotonic() + self._read_timeout_s
        while not self._bodies:
            if time.monotonic() > deadline_s:
                raise StreamError(Cause.NO_DATA, "bytes trickle in, but no whole picture")
            self._bodies.extend(self._receive())
        return _decode(self._bodies.popleft())

    def _receive(self) -> list[bytes]:
        try:
            block = self._answer.response.read1(_BLOCK)
        except TimeoutError:
            waited = f"{self._read_timeout_s:.1f} s"
            raise StreamError(Cause.NO_DATA, f"no byte for {waited}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise StreamError(Cause.FAILED, f"the connection was cut: {error}") from None
        if not block:
            raise StreamError(Cause.END_OF_FILE, "the camera ended its answer")
        try:
            return list(self._parts.feed(block))
        except ValueError as error:
            raise StreamError(Cause.CODEC, error) from None

    def interrupt(self) -> None:
        """Cut the connection, which wakes a read that waits."""
        with contextlib.suppress(OSError):
            self._answer.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; closing twice does no harm."""
        self._answer.close()


def _decode(body: bytes) -> Reading:
    import cv2

    captured_s = time.monotonic()
    if not is_whole_jpeg(body):
        return Reading(None, captured_s, captured_s, "half a picture")
    width, height = jpeg_size_wh(body) or (0, 0)
    if width * height > MAX_PIXELS:  # a damaged header must not take all memory
        limit = f"the limit of {MAX_PIXELS // 10**6} megapixels"
        error = f"{width}x{height} pixels are above {limit}"
        return Reading(None, captured_s, captured_s, error)
    image: Any = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    reason = "no JPEG that can be decoded" if image is None else None
    return Reading(image, captured_s, time.monotonic(), reason)


class HttpOpener:
    """Opens an HTTP camera; what is no stream of JPEG goes to FFmpeg."""

    def __init__(self, config: CameraConfig) -> None:
        """Prepare; nothing is opened yet."""
        self._config = config

    def open(self, closing: threading.Event) -> Stream:
        """Ask for the stream.

        Raises:
            StreamError: The camera refuses, does not answer, or gives something else.
        """
        answer = self._ask()
        kind = answer.response.headers.get_content_type()
        if kind == "multipart/x-mixed-replace":
            backing = Backing("HTTP", "JPEG by OpenCV", f"read directly, as the answer is {kind}")
            return MjpegStream(answer, self._config.patience_s, backing)
        answer.close()
        if kind.startswith(("text/", "image/")):
            raise StreamError(Cause.CODEC, f"the answer is {kind}, not a stream of pictures")
        opener = UrlOpener(self._config, lambda address, timeout_s: Offer(kind, address))
        return opener.open(closing)

    def _ask(self) -> _Answer:
        url = urlsplit(self._config.source)
        place = url.netloc.rpartition("@")[2]
        try:
            answer = _get(url, self._config.open_timeout_s)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _unreachable(error, place) from None
        if answer.response.status != 200:
            answer.close()
            raise _refusal(answer.response.status, place)
        return answer


@dataclass(frozen=True)
class _Answer:
    """An answer whose body is still to come, and the socket that it comes by."""

    response: http.client.HTTPResponse
    socket: socket.socket

    def close(self) -> None:
        self.response.close()
        self.socket.close()


def _get(url: SplitResult, timeout_s: float) -> _Answer:
    """Ask for a page, with the password once it is asked for, within a time for all of it."""
    deadline_s = time.monotonic() + timeout_s
    credentials = Credentials.of(url)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    answer = _request(url, path, None, deadline_s)
    if answer.response.status == 401 and credentials is not None:
        challenges = answer.response.headers.get_all("WWW-Authenticate", [])
        answer.close()
        value = authorization(challenges, credentials, "GET", path)
        answer = _request(url, path, value, deadline_s)
    return answer


def _request(url: SplitResult, path: str, value: str | None, deadline_s: float) -> _Answer:
    connection, response = _connection(url, deadline_s), None
    try:
        own = connection.sock
        headers = {} if value is None else {"Authorization": value}
        with limited(own, deadline_s - time.monotonic(), "camera-answer-limit"):
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
        return _Answer(response, own)
    except BaseException:
        if response is not None:  # the connection may be the answer's by now
            response.close()
        connection.close()
        raise


def _connection(url: SplitResult, deadline_s: float) -> http.client.HTTPConnection:
    """Return an open connection. No proxy: a camera is never behind the office's."""
    context = ssl.create_default_context() if url.scheme.lower() == "https" else None
    return connect_http(url, deadline_s - time.monotonic(), context)


def _refusal(status: int, place: str) -> StreamError:
    if status in (401, 403, 407):
        return StreamError(Cause.AUTH, f"user or password is refused (HTTP {status})")
    if status in (404, 410):
        return StreamError(Cause.NOT_FOUND, f"{place} has no such stream (HTTP {status})")
    if 300 <= status < 400:
        return StreamError(Cause.NOT_FOUND, f"{place} has moved the stream (HTTP {status})")
    return StreamError(Cause.REFUSED, f"{place} refuses (HTTP {status})")


def _unreachable(error: Exception, place: str) -> StreamError:
    if isinstance(error, ssl.SSLError):
        advice = "name its authority's file in SSL_CERT_FILE"
        return StreamError(Cause.AUTH, f"{place} has no certificate to trust: {error}: {advice}")
    if isinstance(error, socket.gaierror):
        return StreamError(Cause.NOT_FOUND, f"there is no host for {place}")
    if isinstance(error, TimeoutError):
        return StreamError(Cause.TIMEOUT, f"{place} does not answer")
    if isinstance(error, ConnectionRefusedError):
        return StreamError(Cause.REFUSED, f"{place} refuses the connection")
    if isinstance(error, ConnectionError) or not isinstance(error, OSError):
        return StreamError(Cause.REFUSED, f"{place} gives no answer: {error}")
    return StreamError(Cause.NOT_FOUND, f"{place} cannot be reached: {error.strerror or error}")
