"""The status server, asked well and badly."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from fake_outbox import FakeLine
from waiting import wait_until

from zsad.errors import InputError
from zsad.line.status import Histogram, LastVerdict, LineState, SinkHealth
from zsad.sinks import SecretRef, ServerConfig, StatusServer
from zsad.sources.health import Cause, Counts, SourceHealth, SourceState

pytest.importorskip("prometheus_client")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def serve():
    """Return `serve(line, snapshot, **options) -> port`; everything is ended at the end."""
    servers = []

    def start(line=None, snapshot=lambda: None, **options):
        config = ServerConfig(port=free_port(), **{"timeout_s": 1.0, **options})
        server = StatusServer(config, (line or FakeLine()).status, snapshot)
        server.start()
        servers.append(server)
        return config.port

    yield start
    for server in servers:
        server.stop()
        server.stop()
    # The thread of the last answer may be a moment from its end.
    wait_until(lambda: not any(t.name.startswith("status-") for t in threading.enumerate()), 2.0)


def get(port, path, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def exchange(port, request):
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(request)
        answer = b""
        while block := connection.recv(65536):
            answer += block
    return answer


def test_a_line_that_runs_is_alive_and_ready(serve):
    port = serve()
    assert get(port, "/healthz")[:2] == (200, b"ok\n")
    assert get(port, "/readyz")[:2] == (200, b"ok\n")


@pytest.mark.parametrize("state", [LineState.STARTING, LineState.FAULT, LineState.STOPPING])
def test_a_line_that_cannot_judge_is_alive_and_not_ready(serve, state):
    line = FakeLine()
    line.changes = {"state": state, "reasons": ("camera top is stalled",)}
    port = serve(line)
    assert get(port, "/healthz")[0] == 200
    assert get(port, "/readyz")[:2] == (503, b"camera top is stalled\n")
    assert get(port, "/snapshot.jpg")[0] == 503


@pytest.mark.parametrize("state", [LineState.RUNNING, LineState.FAULT])
def test_an_engine_that_hangs_is_neither_even_if_nobody_asked_meanwhile(serve, state):
    """Whether or not the line has noticed it too."""
    line = FakeLine()
    port = serve(line, stale_s=0.5)
    assert get(port, "/readyz")[0] == 200
    line.hangs, line.changes = True, {"state": state}
    time.sleep(1.2)  # the server itself is to notice
    assert get(port, "/readyz")[0] == get(port, "/healthz")[0] == 503
    line.hangs, line.changes = False, {}
    time.sleep(0.06)
    assert get(port, "/readyz")[0] == 200


def test_an_engine_that_loads_for_minutes_is_alive(serve):
    line = FakeLine()
    line.hangs, line.changes = True, {"state": LineState.STARTING}
    port = serve(line, stale_s=0.1)
    time.sleep(0.4)
    assert get(port, "/healthz")[0] == 200


def test_a_line_that_does_not_answer_is_not_alive_and_leaks_nothing(serve):
    line = FakeLine()
    line.fails = RuntimeError("rtsp://user:hunter2@cam is wrong")
    port = serve(line)
    code, body, _ = get(port, "/healthz")
    assert code == 503
    assert b"unknown" in body and b"hunter2" not in body
    assert get(port, "/metrics")[1].endswith(b"zsad_trusted 0.0\n")


def test_the_picture_is_the_newest_one(serve):
    pictures = [None, b"\xff\xd8one"]
    port = serve(snapshot=lambda: pictures.pop(0))
    assert get(port, "/snapshot.jpg")[0] == 404
    code, body, headers = get(port, "/snapshot.jpg")
    assert (code, body, headers["Content-Type"]) == (200, b"\xff\xd8one", "image/jpeg")
    assert headers["Cache-Control"] == "no-store"


FULL = {
    "verdicts": {"OK": 5, "NG": 2},
    "overruns": 3,
    "last": LastVerdict(7, "p", "NG", 0.25),
    "alarms": ("focus",),
    "stages": {"judged": Histogram((10.0, 100.0), (1, 2, 3), 1234.5)},
    "sinks": {"plant": SinkHealth(False, "gone", 4, 9, 1)},
    "cameras": {
        "top": SourceHealth(
            SourceState.STALLED, Cause.NO_DATA, "silent", 1.5, 2,
            Counts(10, 6, {"displaced": 3}, 1),
        )
    },
}  # fmt: skip


def test_metrics_say_what_the_status_says(serve):
    line = FakeLine()
    line.changes = FULL
    code, body, headers = get(serve(line), "/metrics")
    lines = body.decode().splitlines()
    assert code == 200 and headers["Content-Type"].startswith("text/plain")
    for expected in (
        "zsad_trusted 1.0",
        'zsad_line_state{state="running"} 1.0',
        'zsad_line_state{state="fault"} 0.0',
        'zsad_verdicts_total{verdict="NG"} 2.0',
        "zsad_overruns_total 3.0",
        "zsad_alarms 1.0",
        "zsad_last_verdict_age_seconds 0.25",
        'zsad_stage_seconds_bucket{le="0.01",stage="judged"} 1.0',
        'zsad_stage_seconds_bucket{le="0.1",stage="judged"} 3.0',
        'zsad_stage_seconds_bucket{le="+Inf",stage="judged"} 6.0',
        'zsad_stage_seconds_count{stage="judged"} 6.0',
        'zsad_stage_seconds_sum{stage="judged"} 1.2345',
        'zsad_camera_state{camera="top",state="stalled"} 1.0',
        'zsad_camera_frame_age_seconds{camera="top"} 1.5',
        'zsad_camera_reconnects_total{camera="top"} 2.0',
        'zsad_frames_captured_total{camera="top"} 10.0',
        'zsad_frames_taken_total{camera="top"} 6.0',
        'zsad_frames_dropped_total{camera="top",reason="displaced"} 3.0',
        'zsad_frames_waiting{camera="top"} 1.0',
        'zsad_sink_up{sink="plant"} 0.0',
        'zsad_sink_backlog{sink="plant"} 4.0',
        'zsad_sink_delivered_total{sink="plant"} 9.0',
        'zsad_sink_parked_total{sink="plant"} 1.0',
    ):
        assert expected in lines, expected


def test_the_status_is_all_there_is(serve):
    line = FakeLine()
    line.changes = FULL
    told = json.loads(get(serve(line), "/status")[1])
    assert (told["schema"], told["trusted"], told["doubts"]) == (1, True, [])
    assert told["status"]["cameras"]["top"]["cause"] == "no-data"
    assert told["status"]["sinks"]["plant"]["backlog"] == 4


def test_a_token_is_asked_for_everywhere(serve, monkeypatch):
    monkeypatch.setenv("STATUS_TOKEN", "t0ken")
    port = serve(token=SecretRef(env="STATUS_TOKEN"))
    for path in ("/healthz", "/readyz", "/metrics", "/status", "/snapshot.jpg", "/nothing"):
        assert get(port, path)[0] == 401
        assert get(port, path, Authorization="Bearer wrong")[0] == 401
        assert get(port, path, Authorization="t0ken")[0] == 401
    assert get(port, "/readyz", Authorization="Bearer t0ken")[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/etc/passwd", "/../../etc/passwd", "/snapshot.jpg/../../etc/passwd", "/healthz//",
     "/%2e%2e/etc/passwd", "/healthz/", "/snapshot.jpg%00"],
)  # fmt: skip
def test_every_other_path_is_not_found(serve, path):
    answer = exchange(serve(), f"GET {path} HTTP/1.0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 404 ")
    assert b"root:" not in answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /healthz HTTP/1.0\r\nContent-Length: 0\r\n\r\n", b"501"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.0\r\n\r\n", b"414"),
        (b"GET /healthz HTTP/1.0\r\n" + b"".join(b"H%d: 1\r\n" % n for n in range(200)) + b"\r\n",
         b"431"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(serve, request_bytes, status):
    assert status in exchange(serve(), request_bytes)


@pytest.mark.parametrize("target", [b"http://[bad/", b"http://bad]/healthz"])
def test_an_address_that_is_none_is_refused_and_not_logged_at_length(serve, target, caplog):
    answer = exchange(serve(), b"GET " + target + b" HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert "Traceback" not in caplog.text


def test_head_has_no_body(serve):
    answer = exchange(serve(), b"HEAD /readyz HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 ") and answer.endswith(b"\r\n\r\n")


def test_idle_connections_lock_nobody_out(serve):
    port = serve(max_connections=3, timeout_s=60.0)
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
    for _ in range(10):
        start_s = time.monotonic()
        assert get(port, "/healthz")[0] == 200
        assert time.monotonic() - start_s < 2.0
    for each in idle[:27]:  # the oldest made room
        each.settimeout(5)
        assert each.recv(1) == b""
    for each in idle:
        each.close()


def test_too_many_callers_that_are_being_answered_are_turned_away(serve, until):
    let_go, asked = threading.Event(), []

    def snapshot():
        asked.append(1)
        let_go.wait(20)

    port = serve(snapshot=snapshot, max_connections=2, timeout_s=30.0)
    answers = []
    callers = [
        threading.Thread(target=lambda: answers.append(get(port, "/snapshot.jpg")[0]))
        for _ in range(2)
    ]
    for caller in callers:
        caller.start()
    until(lambda: len(asked) == 2)
    assert get(port, "/healthz")[0] == 503
    let_go.set()
    for caller in callers:
        caller.join()
    assert answers == [404, 404], "neither was displaced"
    assert get(port, "/healthz")[0] == 200


def test_slow_connections_are_ended(serve):
    port = serve(max_connections=3, timeout_s=0.6)
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    for each in slow:  # a byte now and then keeps the limit per step from ever being reached
        each.settimeout(5)
    start_s, ended = time.monotonic(), set()
    while len(ended) < 3:
        for each in slow:
            try:
                each.sendall(b"G")
            except OSError:
                ended.add(each)
        time.sleep(0.1)
        assert time.monotonic() - start_s < 5.0
    for each in slow:
        each.close()


def test_an_address_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = StatusServer(ServerConfig(port=port), FakeLine().status, lambda: None)
        with pytest.raises(InputError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address"):
            server.start()


def test_a_picture_that_fails_is_said_in_the_log_alone(serve, caplog):
    def fail():
        raise RuntimeError("secret path")

    code, body, _ = get(serve(snapshot=fail), "/snapshot.jpg")
    assert code == 500 and b"secret" not in body
    assert "secret path" in caplog.text
