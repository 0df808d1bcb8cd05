"""Why an RTSP stream does not open, asked of servers that are known by hand."""

import base64
import hashlib
import re
import socket
import threading

import pytest

from zsad.sources.health import Cause
from zsad.sources.opencv import Offer
from zsad.sources.rtsp_probe import probe_rtsp
from zsad.sources.stream import StreamError

SDP = (
    "v=0\r\nm=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
)
DIGEST = 'WWW-Authenticate: Digest realm="camera", nonce="n1"\r\n'
BASIC = 'WWW-Authenticate: Basic realm="camera"\r\n'


@pytest.fixture
def serve():
    """Return `serve(answer) -> address`; `answer(request)` gives bytes, or None to be silent."""
    servers = []

    def start(answer):
        listener = socket.create_server(("127.0.0.1", 0))
        servers.append(listener)

        def run():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    reply = answer(connection.recv(4096).decode())
                    if reply is None:
                        connection.recv(1)
                    else:
                        connection.sendall(reply)

        threading.Thread(target=run, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}/live"

    yield start
    for listener in servers:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def reply(status, headers="", body=""):
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"RTSP/1.0 {status} word\r\nCSeq: 1\r\n{headers}{length}\r\n{body}".encode()


@pytest.mark.parametrize(
    ("answer", "cause", "words"),
    [
        (reply(401, BASIC), Cause.AUTH, "RTSP 401"),
        (reply(403), Cause.AUTH, "RTSP 403"),
        (reply(404), Cause.NOT_FOUND, "no such stream"),
        (reply(503), Cause.REFUSED, "RTSP 503"),
        (reply(200, body="v=0\r\nm=audio 0 RTP/AVP 0\r\n"), Cause.CODEC, "no video"),
        (b"", Cause.REFUSED, "without an answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Cause.FAILED, "does not speak RTSP"),
        (None, Cause.TIMEOUT, "does not answer within 0.2 s"),
    ],
)
def test_each_answer_has_its_cause(serve, answer, cause, words):
    found = probe_rtsp(f"rtsp://admin:secret@{serve(lambda request: answer)}", 0.2)
    assert isinstance(found, StreamError)
    assert found.cause is cause
    assert words in found.detail
    assert "secret" not in found.detail


def test_a_stream_that_is_described_gives_the_name_of_its_codec(serve):
    assert probe_rtsp(f"rtsp://{serve(lambda request: reply(200, body=SDP))}", 1).video == "H264"


def test_nobody_listening_is_refused_and_no_such_host_is_not_found():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert probe_rtsp(f"rtsp://127.0.0.1:{port}/x", 1).cause is Cause.REFUSED
    found = probe_rtsp("rtsp://no-such-host.invalid/x", 1)
    assert (found.cause, found.detail) == (
        Cause.NOT_FOUND,
        "there is no host named no-such-host.invalid",
    )


def test_basic_credentials_are_sent_once_they_are_asked_for(serve):
    requests = []

    def answer(request):
        requests.append(request)
        token = base64.b64encode(b"admin:p@ss").decode()
        return reply(200, body=SDP) if f"Basic {token}" in request else reply(401, BASIC)

    assert probe_rtsp(f"rtsp://admin:p%40ss@{serve(answer)}", 1).video == "H264"
    assert "Authorization" not in requests[0]
    assert "p%40ss" not in requests[1]


def test_digest_credentials_are_those_of_the_standard(serve):
    def md5(text):
        return hashlib.md5(text.encode()).hexdigest()

    def answer(request):
        if "Authorization: Digest" not in request:
            return reply(401, DIGEST)
        said = dict(re.findall(r'(\w+)="([^"]*)"', request))
        expected = md5(f"{md5('admin:camera:secret')}:n1:{md5('DESCRIBE:' + said['uri'])}")
        good = said["response"] == expected and said["username"] == "admin"
        return reply(200, body=SDP) if good else reply(401, DIGEST)

    address = serve(answer)
    assert probe_rtsp(f"rtsp://admin:secret@{address}", 1).video == "H264"
    assert probe_rtsp(f"rtsp://admin:wrong@{address}", 1).cause is Cause.AUTH


def moved(location):
    return reply(302, f"Location: {location}\r\n")


def test_a_stream_that_was_moved_is_asked_for_where_it_is_now_with_the_same_password(serve):
    def answer(request):
        return reply(200, body=SDP) if "Authorization: Basic" in request else reply(401, BASIC)

    there = serve(answer)
    here = serve(lambda request: moved(f"rtsp://{there}"))
    offer = Offer("H264", f"rtsp://admin:secret@{there}")
    assert probe_rtsp(f"rtsp://admin:secret@{here}", 1) == offer
    assert "secret" not in repr(offer)
    found = probe_rtsp(f"rtsp://{here}", 1)
    assert (found.cause, found.detail) == (Cause.AUTH, "user or password is refused (RTSP 401)")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("/live", "the stream was moved 5 times and again"),
        ("http://cam/live", "the server moved the stream to http://cam/live (RTSP 302)"),
        ("rtsp://cam:99999/x", "the server moved the stream to rtsp://cam:99999/x (RTSP 302)"),
        ("rtsp://op:secret@127.0.0.1:1/x", "127.0.0.1:1 refuses the connection"),
    ],
)
def test_a_stream_that_was_moved_to_where_none_is_does_not_open(serve, location, words):
    """FFmpeg would follow in a circle until its time is over, thousands of times a second."""
    found = probe_rtsp(f"rtsp://admin:secret@{serve(lambda request: moved(location))}", 2)
    assert (found.cause, found.detail) == (Cause.REFUSED, words)


def test_an_address_of_ipv6_is_shown_as_it_is_written():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert f"[::1]:{port} " in probe_rtsp(f"rtsp://[::1]:{port}/x", 1).detail


@pytest.mark.parametrize("address", ["rtsp://[::1/live", "rtsp://cam:99999/live", "rtsp:///live"])
def test_an_address_that_is_none_is_a_cause_and_no_traceback(address):
    found = probe_rtsp(address, 1.0)
    assert (found.cause, "names no host" in found.detail) == (Cause.FAILED, True)
