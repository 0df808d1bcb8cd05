"""HTTP cameras: passwords, refusals, and what is no stream of pictures."""

import contextlib
import hashlib
import http.server
import re
import socket
import threading
import time

import pytest
from fake_camera import jpeg
from waiting import wait_until

from zsad.sources import CameraConfig, open_camera
from zsad.sources.health import Cause
from zsad.sources.mjpeg import HttpOpener
from zsad.sources.stream import StreamError

STREAM = b"--cut\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(jpeg()), jpeg())


@pytest.fixture
def serve():
    """Return `serve(answer) -> port`; `answer(handler)` writes the whole answer."""
    servers = []

    def start(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                answer(self)

            def log_message(self, *_):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=[0.05], daemon=True).start()
        return servers[-1].server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def open_stream(port, user="admin:secret@"):
    config = CameraConfig("cam", f"http://{user}127.0.0.1:{port}/live", open_timeout_s=1)
    return HttpOpener(config).open(threading.Event())


def pictures(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", "multipart/x-mixed-replace;boundary=cut")
    handler.end_headers()
    handler.wfile.write(STREAM)


def refusing(status, kind="text/html"):
    def answer(handler):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.end_headers()

    return answer


@pytest.mark.parametrize(
    ("answer", "cause", "words"),
    [
        (refusing(401), Cause.AUTH, "HTTP 401"),
        (refusing(403), Cause.AUTH, "HTTP 403"),
        (refusing(302), Cause.NOT_FOUND, "has moved the stream"),
        (refusing(404), Cause.NOT_FOUND, "HTTP 404"),
        (refusing(503), Cause.REFUSED, "HTTP 503"),
        (refusing(200), Cause.CODEC, "the answer is text/html"),
        (refusing(200, "image/jpeg"), Cause.CODEC, "not a stream of pictures"),
        (lambda handler: handler.wfile.write(b"nonsense\r\n"), Cause.REFUSED, "gives no answer"),
    ],
)
def test_each_answer_has_its_cause(serve, answer, cause, words):
    with pytest.raises(StreamError, match=words) as caught:
        open_stream(serve(answer))
    assert caught.value.cause is cause
    assert "secret" not in caught.value.detail


def test_a_picture_comes_as_soon_as_it_is_whole_and_the_end_is_the_end(serve):
    stream = open_stream(serve(pictures), user="")
    assert stream.read(1).image_bgr.shape == (48, 64, 3)
    with pytest.raises(StreamError) as caught:
        stream.read(1)
    assert caught.value.cause is Cause.END_OF_FILE
    stream.close()
    stream.close()


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_digest_passwords_are_answered(serve, algorithm):
    def digest(text):
        return hashlib.new(algorithm.lower().replace("-", ""), text.encode()).hexdigest()

    def answer(handler):
        said = dict(re.findall(r'(\w+)="?([^",]*)', handler.headers.get("Authorization", "")))
        first, last = digest("admin:camera:p@ss"), digest("GET:/live")
        middle = f"n1:{said.get('nc')}:{said.get('cnonce')}:auth"
        if said.get("response") == digest(f"{first}:{middle}:{last}"):
            pictures(handler)
            return
        handler.send_response(401)
        challenge = f'Digest realm="camera", nonce="n1", qop="auth", algorithm={algorithm}'
        handler.send_header("WWW-Authenticate", challenge)
        handler.end_headers()

    port = serve(answer)
    stream = open_stream(port, user="admin:p%40ss@")
    assert stream.read(1).image_bgr is not None
    stream.close()
    with pytest.raises(StreamError) as caught:
        open_stream(port, user="admin:wrong@")
    assert caught.value.cause is Cause.AUTH


def test_nobody_listening_is_refused_and_no_such_host_is_not_found():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for address, cause in (
        (f"http://127.0.0.1:{port}/live", Cause.REFUSED),
        ("http://no-such-host.invalid/live", Cause.NOT_FOUND),
    ):
        config = CameraConfig("cam", address, open_timeout_s=5)
        with pytest.raises(StreamError) as caught:
            HttpOpener(config).open(threading.Event())
        assert caught.value.cause is cause


@pytest.mark.parametrize("path", ["", "/", "?channel=2", "/live?channel=2", "//live"])
def test_a_camera_is_asked_for_what_its_address_says(serve, path):
    asked = []

    def answer(handler):
        asked.append(handler.requestline)
        pictures(handler)

    config = CameraConfig("cam", f"http://127.0.0.1:{serve(answer)}{path}")
    HttpOpener(config).open(threading.Event()).close()
    slash = "" if path.startswith("/") else "/"
    assert asked == [f"GET {slash}{path} HTTP/1.1"]


def test_the_office_s_proxy_is_not_asked(serve, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    stream = open_stream(serve(pictures))
    assert stream.read(1).image_bgr is not None
    stream.close()


def test_a_read_that_waits_is_woken_by_an_interrupt(serve):
    silent = threading.Event()

    def answer(handler):
        pictures(handler)
        silent.wait(10)

    stream = open_stream(serve(answer))
    assert stream.read(1) is not None
    threading.Timer(0.2, stream.interrupt).start()
    with pytest.raises(StreamError) as caught:
        stream.read(1)
    assert caught.value.cause in (Cause.END_OF_FILE, Cause.FAILED)
    silent.set()
    stream.close()


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_an_answer_that_drips_for_ever_is_given_up(begin):
    """Each byte comes in time; the headers never end."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(begin)
                while not over.wait(0.05):
                    connection.sendall(b"H")

        thread = threading.Thread(target=serve, name="dripping")
        thread.start()
        begun_s = time.monotonic()
        with pytest.raises(StreamError) as found:
            open_stream(listener.getsockname()[1])
        over.set()
        thread.join(10)
    assert found.value.cause is Cause.TIMEOUT
    assert time.monotonic() - begun_s < 3


def test_a_flood_of_empty_parts_is_no_picture_and_ends(serve):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace;boundary=cut")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"--cut\r\nContent-Length: 0\r\n\r\n\r\n" * 1000)

    port = serve(answer)
    config = CameraConfig("cam", f"http://127.0.0.1:{port}/live", stall_s=0.5)
    camera = open_camera(config)
    camera.start()
    wait_until(lambda: camera.health.cause is Cause.CODEC, 20, lambda: camera.health)
    camera.close()
    assert camera.health.counts.waiting == 0
    assert set(camera.health.counts.dropped) == {"unreadable"}


def test_a_picture_that_claims_to_be_enormous_is_not_decoded(serve):
    """One damaged byte of a header must not take all memory."""
    content = bytearray(jpeg())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = b"\x75\x30\x75\x30"  # 30000 x 30000

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace;boundary=cut")
        handler.end_headers()
        handler.wfile.write(b"--cut\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(content), content))

    stream = open_stream(serve(answer))
    reading = stream.read(1)
    stream.close()
    assert reading.image_bgr is None
    assert reading.error == "30000x30000 pixels are above the limit of 64 megapixels"
