"""The webhook sink against a web server that misbehaves."""

import contextlib
import http.server
import json
import shutil
import socket
import ssl
import threading
import time

import pytest
from authority import make_authority
from fake_outbox import FakeOutbox, make_record

from zsad.backoff import BackoffConfig
from zsad.errors import InputError
from zsad.sinks.base import RefusedError, SinkCause, SinkError
from zsad.sinks.config import WebhookConfig
from zsad.sinks.courier import Courier
from zsad.sinks.secret import SecretRef
from zsad.sinks.webhook import WebhookSink, sign


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps every request; answers what `answer(body)` gives: a status, or one with headers."""

    def __init__(self, answer=lambda body: 204):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}/verdicts?line=3"

    @property
    def seqs(self):
        return [json.loads(body)["seq"] for _, _, body in self.requests]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        answer = self.server.answer(body)
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def receive():
    """Return `receive(answer) -> Receiver`, serving in a thread until the end."""
    servers = []

    def start(*arguments):
        server = Receiver(*arguments)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        servers.append((server, thread))
        return server

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.socket.close()


@pytest.fixture
def make_sink():
    sinks = []

    def make(url, **options):
        sink = WebhookSink("hook", WebhookConfig(url, **{"timeout_s": 1.0, **options}))
        sinks.append(sink)
        return sink

    yield make
    for sink in sinks:
        sink.close()


def test_a_verdict_is_posted_signed_over_a_kept_connection(receive, make_sink, monkeypatch):
    monkeypatch.setenv("HOOK_KEY", "s3cret")
    monkeypatch.setenv("HOOK_TOKEN", "t0ken")
    server = receive()
    references = {"secret": SecretRef(env="HOOK_KEY"), "bearer": SecretRef(env="HOOK_TOKEN")}
    sink = make_sink(server.url, **references)
    for seq in (1, 2):
        assert sink.deliver([make_record(seq)]) == 1
    assert server.seqs == [1, 2]
    path, headers, body = server.requests[0]
    assert path == "/verdicts?line=3"
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["Zsad-Delivery"] == "press-3:1"
    assert abs(int(headers["Zsad-Timestamp"]) - time.time()) < 60
    assert headers["Zsad-Signature"] == sign("s3cret", headers["Zsad-Timestamp"], body)


SIGNED = "97926816e98fbb41ccb1673225ff29a2f35369099990e1b1561651e7bd097ebf"


def test_the_signature_is_the_documented_one():
    """Computed with `printf '1700000000.{}' | openssl dgst -sha256 -hmac s3cret`."""
    assert sign("s3cret", "1700000000", b"{}") == "v1=" + SIGNED


def test_a_batch_is_an_array(receive, make_sink):
    server = receive()
    records = [make_record(seq) for seq in range(1, 6)]
    assert make_sink(server.url, batch=3).deliver(records) == 3
    assert [row["seq"] for row in json.loads(server.requests[0][2])] == [1, 2, 3]


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_an_answer_about_the_record_refuses_it(receive, make_sink, status):
    sink = make_sink(receive(lambda body: status).url)
    with pytest.raises(RefusedError, match=f"answered {status} to verdict 7"):
        sink.deliver([make_record(7)])


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (301, SinkCause.REFUSED),
        (401, SinkCause.AUTH),
        (403, SinkCause.AUTH),
        (404, SinkCause.REFUSED),
        (429, SinkCause.REFUSED),
        (500, SinkCause.REFUSED),
        (503, SinkCause.REFUSED),
    ],
)
def test_an_answer_about_anything_else_keeps_the_record(receive, make_sink, status, cause):
    sink = make_sink(receive(lambda body: status).url)
    with pytest.raises(SinkError) as caught:
        sink.deliver([make_record(7)])
    assert type(caught.value) is SinkError
    assert caught.value.cause is cause


def test_a_redirect_is_not_followed(receive, make_sink):
    other = receive()
    server = receive(lambda body: (307, {"Location": other.url}))
    with pytest.raises(SinkError, match="redirects"):
        make_sink(server.url).deliver([make_record(1)])
    assert other.requests == []


@pytest.mark.parametrize(
    ("asked", "waited"), [("7", 7.0), ("0", 1.0), ("86400", 300.0), ("soon", None)]
)
def test_a_server_may_ask_for_patience_within_reason(receive, make_sink, asked, waited):
    server = receive(lambda body: (503, {"Retry-After": asked}))
    with pytest.raises(SinkError) as caught:
        make_sink(server.url).deliver([make_record(1)])
    assert caught.value.retry_s == waited


def test_one_bad_record_in_a_batch_is_found_and_parked_alone(receive, make_sink, until):
    def answer(body):
        return 422 if any(row["seq"] == 5 for row in json.loads(body)) else 200

    server, outbox, parked = receive(answer), FakeOutbox(), []
    for _ in range(8):
        outbox.commit()
    courier = Courier(
        make_sink(server.url, batch=4),
        outbox,
        BackoffConfig(first_s=0.01, cap_s=0.02),
        on_parked=lambda name, record, why: parked.append(record.seq),
    )
    courier.start()
    until(lambda: outbox.backlog("hook") == 0)
    assert courier.stop(5.0)
    assert parked == [5]
    taken = [row["seq"] for _, _, body in server.requests if answer(body) == 200
             for row in json.loads(body)]  # fmt: skip
    assert taken == [1, 2, 3, 4, 6, 7, 8]


def test_nobody_there_is_refused(make_sink):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(SinkError) as caught:
        make_sink(f"http://127.0.0.1:{port}/").deliver([make_record(1)])
    assert caught.value.cause is SinkCause.REFUSED


@contextlib.contextmanager
def raw_server(behave):
    """Serve one connection after another with `behave(connection)`."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def serve():
            server.settimeout(0.05)
            while not over.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        connection.settimeout(5)
                        behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            over.set()
            thread.join()


def drip(connection):
    connection.recv(65536)
    for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
        connection.sendall(bytes([letter]))
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("behave", "cause"),
    [
        (lambda connection: connection.recv(1 << 20) and time.sleep(1.0), SinkCause.TIMEOUT),
        (drip, SinkCause.TIMEOUT),
        (lambda connection: connection.recv(65536), SinkCause.LOST),
        (lambda connection: connection.sendall(b"220 smtp ready\r\n"), SinkCause.LOST),
    ],
    ids=["silent", "dripping", "hanging up", "another protocol"],
)
def test_a_server_that_is_none_is_given_up_in_time(make_sink, behave, cause):
    with raw_server(behave) as url:
        start_s = time.monotonic()
        with pytest.raises(SinkError) as caught:
            make_sink(url, timeout_s=0.4).deliver([make_record(1)])
        assert time.monotonic() - start_s < 3.0
    assert caught.value.cause is cause


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(receive, make_sink):
    server = receive(lambda body: (204, {"Connection": "keep-alive"}))
    sink = make_sink(server.url)
    sink.deliver([make_record(1)])
    sink._connection.sock.shutdown(socket.SHUT_RD)
    assert sink.deliver([make_record(2)]) == 1
    assert server.seqs == [1, 2]


def test_an_endless_answer_is_not_read_to_its_end(make_sink):
    def behave(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(65536))

    with raw_server(behave) as url:
        assert make_sink(url).deliver([make_record(1)]) == 1


@pytest.mark.system("openssl")
def test_https_is_verified(receive, make_sink, tmp_path):
    ca, certificate, key = make_authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = receive()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:")
    sink = make_sink(url, ca=str(ca))
    for seq in (1, 2):
        assert sink.deliver([make_record(seq)]) == 1
    with pytest.raises(SinkError) as caught:
        make_sink(url).deliver([make_record(3)])
    assert caught.value.cause is SinkCause.TLS
    with pytest.raises(SinkError) as caught:
        make_sink(url.replace("127.0.0.1", "localhost"), ca=str(ca)).deliver([make_record(3)])
    assert caught.value.cause is SinkCause.TLS, "the certificate is another host's"
    assert server.seqs == [1, 2]


@pytest.mark.system("openssl")
def test_an_authority_that_is_replaced_while_the_line_runs_is_taken(receive, make_sink, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    authorities = []
    for folder in (old, new):
        folder.mkdir()
        authorities.append(make_authority(folder))
    trusted = tmp_path / "trusted.crt"
    shutil.copy(authorities[0][0], trusted)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authorities[1][1:])
    server = receive()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    sink = make_sink(server.url.replace("http:", "https:"), ca=str(trusted))
    with pytest.raises(SinkError) as caught:
        sink.deliver([make_record(1)])
    assert caught.value.cause is SinkCause.TLS
    shutil.copy(authorities[1][0], trusted)
    assert sink.deliver([make_record(1)]) == 1


@pytest.mark.parametrize("token", ["two\nlines", "ein Schl\u00fcssel"])
def test_a_token_that_no_header_can_hold_is_known_at_the_start(monkeypatch, token):
    monkeypatch.setenv("HOOK_TOKEN", token)
    config = WebhookConfig("http://127.0.0.1:9/", bearer=SecretRef(env="HOOK_TOKEN"))
    with pytest.raises(InputError, match="token in environment HOOK_TOKEN holds what no header"):
        WebhookSink("mes", config)
