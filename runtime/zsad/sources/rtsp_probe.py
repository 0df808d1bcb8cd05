"""Asks an RTSP server itself why a stream did not open, since OpenCV keeps it to itself."""

from __future__ import annotations

import re
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from zsad.socket_limit import connect, limited
from zsad.sources.address import has_host
from zsad.sources.authorization import Credentials, authorization, without_credentials
from zsad.sources.health import Cause
from zsad.sources.opencv import Offer
from zsad.sources.stream import StreamError

_PORTS = {"rtsp": 554, "rtsps": 322}
_LONGEST_ANSWER = 1 << 16
_MOST_MOVES = 5
_LOCATION = re.compile(r"^location:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_CHALLENGE = re.compile(r"^www-authenticate:\s*(.*)$", re.IGNORECASE | re.MULTILINE)
_CODEC = re.compile(r"^a=rtpmap:\d+ ([^/\s]+)", re.MULTILINE)


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: str
    body: str


def probe_rtsp(address: str, timeout_s: float) -> StreamError | Offer:
    """Return why a server does not describe the stream; its codec and where it is if it does.

    A server that moved it to another is followed, with the credentials of the first, as FFmpeg
    does, which would follow in a circle until its time is over.

    Args:
        address: The `rtsp://` or `rtsps://` URL, credentials included.
        timeout_s: For connecting and all answers together.
    """
    if not has_host(address):  # as one in a pipeline may be written
        return StreamError(Cause.FAILED, "its RTSP address names no host and port")
    url, deadline_s = urlsplit(address), time.monotonic() + timeout_s
    try:
        for _ in range(1 + _MOST_MOVES):
            with connect_rtsp(url, deadline_s) as server:
                answer = _describe(server, url, deadline_s)
            if (moved := _moved_to(answer, url)) is None:
                return _judge(answer, url)
            url = moved
    except (OSError, EOFError, ValueError) as error:
        return why_not(error, url, timeout_s)
    return StreamError(Cause.REFUSED, f"the stream was moved {_MOST_MOVES} times and again")


def why_not(error: Exception, url: SplitResult, timeout_s: float) -> StreamError:
    """Return why a server was not reached, or did not answer, as a cause."""
    place = _place(url)
    if isinstance(error, socket.gaierror):
        return StreamError(Cause.NOT_FOUND, f"there is no host named {url.hostname}")
    if isinstance(error, ConnectionRefusedError):
        return StreamError(Cause.REFUSED, f"{place} refuses the connection")
    if isinstance(error, TimeoutError):
        return StreamError(Cause.TIMEOUT, f"{place} does not answer within {timeout_s:g} s")
    if isinstance(error, (ConnectionError, EOFError)):
        return StreamError(Cause.REFUSED, f"{place} cuts the connection without an answer")
    if isinstance(error, OSError):
        return StreamError(Cause.NOT_FOUND, f"{place} cannot be reached: {error.strerror or error}")
    return StreamError(Cause.FAILED, f"{place} does not speak RTSP")


def _place(url: SplitResult) -> str:
    host = f"[{url.hostname}]" if ":" in str(url.hostname) else url.hostname
    return f"{host}:{url.port or _PORTS[url.scheme]}"


def _moved_to(answer: _Answer, url: SplitResult) -> SplitResult | None:
    """Return where a stream is now, None where it is here or nowhere that could be asked."""
    location = _LOCATION.search(answer.headers)
    if not (300 <= answer.status < 400 and location):
        return None
    moved = urlsplit(urljoin(url.geturl(), str(location[1])))
    if moved.scheme not in _PORTS or not has_host(moved.geturl()):
        return None
    user, at, _ = url.netloc.rpartition("@")
    return moved if "@" in moved.netloc else moved._replace(netloc=f"{user}{at}{moved.netloc}")


def connect_rtsp(url: SplitResult, deadline_s: float) -> socket.socket:
    """Connect to the server of a URL, with TLS where it says so.

    Args:
        url: An `rtsp://` or `rtsps://` URL.
        deadline_s: On the monotonic clock.

    Raises:
        OSError: It is not reached until then, or at all.
    """
    context = None
    if url.scheme == "rtsps":
        # FFmpeg, which this stands in for, does not verify either unless it is told to.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port, left_s = url.port or _PORTS[url.scheme], deadline_s - time.monotonic()
    return connect(url.hostname or "", port, left_s, context)


def _describe(server: socket.socket, url: SplitResult, deadline_s: float) -> _Answer:
    path, credentials = without_credentials(url), Credentials.of(url)
    answer = _ask(server, path, 1, "", deadline_s)
    if answer.status != 401 or credentials is None:
        return answer
    challenges = _CHALLENGE.findall(answer.headers)
    value = authorization(challenges, credentials, "DESCRIBE", path)
    if value is None:
        return answer
    # Some cameras close the connection after a 401.
    with connect_rtsp(url, deadline_s) as again:
        return _ask(again, path, 2, f"Authorization: {value}\r\n", deadline_s)


def _ask(server: socket.socket, path: str, number: int, extra: str, deadline_s: float) -> _Answer:
    request = (
        f"DESCRIBE {path} RTSP/1.0\r\nCSeq: {number}\r\nAccept: application/sdp\r\n{extra}\r\n"
    )
    with limited(server, deadline_s - time.monotonic(), "rtsp-answer-limit"):
        server.sendall(request.encode())
        return _read(server)


def _read(server: socket.socket) -> _Answer:
    received = b""
    while not _is_whole(received):
        block = server.recv(4096)
        received += block
        if not block:
            break
        if len(received) > _LONGEST_ANSWER:
            raise ValueError("an endless answer")
    if not received:
        raise EOFError
    return _parse(received)


def _is_whole(received: bytes) -> bool:
    head, separator, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"^content-length:\s*(\d+)", head, re.IGNORECASE | re.MULTILINE)
    return bool(separator) and len(body) >= (int(length[1]) if length else 0)


def _parse(received: bytes) -> _Answer:
    head, _, body = received.decode("latin-1").partition("\r\n\r\n")
    match = re.match(r"RTSP/\d\.\d (\d{3})", head)
    if match is None:
        raise ValueError("not RTSP")
    return _Answer(int(match[1]), head, body)


def _judge(answer: _Answer, url: SplitResult) -> StreamError | Offer:
    if answer.status in (401, 403):
        return StreamError(Cause.AUTH, f"user or password is refused (RTSP {answer.status})")
    if answer.status == 404:
        return StreamError(Cause.NOT_FOUND, "the server has no such stream (RTSP 404)")
    if 300 <= answer.status < 400:
        location = _LOCATION.search(answer.headers)
        where = location[1] if location else "nowhere"
        return StreamError(
            Cause.REFUSED, f"the server moved the stream to {where} (RTSP {answer.status})"
        )
    if answer.status != 200:
        return StreamError(Cause.REFUSED, f"the server refuses the stream (RTSP {answer.status})")
    if "m=video" not in answer.body:
        return StreamError(Cause.CODEC, "the stream describes no video")
    video = answer.body.partition("m=video")[2]
    codec = _CODEC.search(video)
    return Offer(codec[1] if codec else "of no name", url.geturl())
