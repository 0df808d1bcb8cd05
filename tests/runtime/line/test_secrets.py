"""Planted secrets, in a whole line: none may come out at any place that a person can look at."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from zsad.cli.run import main

IN_ENVIRONMENT = "planted/Env'7"
IN_FILE = "planted-file of-two-words"
PIECES = ("planted", "two-words", "Env'7", quote("Env'7", safe=""))


@pytest.fixture
def plant(line_folder, monkeypatch):
    """Return `plant(old, new)`: a line whose file was changed so, with secrets about."""
    monkeypatch.setenv("PLANTED", IN_ENVIRONMENT)
    (line_folder / "key").write_text(IN_FILE)
    monkeypatch.chdir(line_folder)
    file = line_folder / "line.yaml"

    def plant(*replaced):
        text = file.read_text()
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)
        return file

    return plant


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


SINK = "    file: {path: verdicts.jsonl}\n"
FILM = "{name: film, source: film.avi}"


SECRETS = ("${env:PLANTED}", "${file:key}")


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("artifact: artifact", 'artifact: "at/SECRET"'),
        ("recipe: part.json", 'recipe: "SECRET.json"'),
        ("ledger_folder: ledger", 'ledger_folder: "part.json/SECRET"'),
        ("backend: cpu", 'backend: "SECRET"'),
        (FILM, '{name: film, source: "http://op:SECRET@cam:1x/"}'),
        (FILM, '{name: "SECRET", source: film.avi, scale_16bit: "12"}'),
        (SINK, SINK + '  mqtt:\n    a: {host: b, topic: "SECRET+"}\n'),
        (SINK, SINK + '  webhook:\n    a: {url: "https://a", ca: "SECRET"}\n'),
    ],
)
def test_what_is_wrong_is_told_without_the_secret(plant, old, new, secret, check):
    file = plant((old, new.replace("SECRET", secret)))
    outcome = CliRunner().invoke(main, ["--config", str(file), *["--check"] * check])
    assert outcome.exit_code == 2, outcome.output
    assert_concealed(outcome.output)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("recipe: part.json", 'recipes: {"drop": "SECRET/../part.json"}'),
        ("verdicts.jsonl", '"SECRET/none/x.jsonl"'),
        (FILM, '{name: film, source: "films/SECRET.avi"}'),
        (FILM, '{name: "SECRET", source: "udp://SECRET"}'),
    ],
)
def test_what_is_in_effect_is_told_without_the_secret(plant, old, new, secret):
    file = plant((old, new.replace("SECRET", secret)))
    outcome = CliRunner().invoke(main, ["--config", str(file), "--check"])
    assert_concealed(outcome.output)


def assert_concealed(output):
    for piece in PIECES:
        assert piece not in output
    assert "${env:PLANTED}" in output or "${file:key}" in output or "***" in output


class Echo(http.server.BaseHTTPRequestHandler):
    """A server that answers with all that it was sent, as some do when they refuse."""

    def do_GET(self):
        self.send_response(401, f"{self.path} {self.headers.get('Authorization')}")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *args):
        pass


def test_a_line_that_fails_everywhere_keeps_its_secrets(plant, line_folder, drop):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, name="echo").start()
    port, own = server.server_port, free_port()
    cameras = (
        f'{{name: film, source: "http://op:${{env:PLANTED}}@127.0.0.1:{port}/a?x=${{file:key}}"}}\n'
        f'  - {{name: rtsp, source: "rtsp://op:${{env:PLANTED}}@127.0.0.1:{free_port()}/a"}}'
    )
    sinks = f"""\
  mqtt:
    plant: {{host: 127.0.0.1, port: {free_port()}, user: u, password: {{env: PLANTED}}}}
  webhook:
    mes: {{url: "http://127.0.0.1:{port}/${{env:PLANTED}}", bearer: {{file: key}}}}
    other: {{url: "http://127.0.0.1:{port}/", secret: {{file: key}}, bearer: {{env: PLANTED}}}}
server: {{port: {own}, token: {{env: PLANTED}}}}
"""
    file = plant((FILM, cameras), (SINK, SINK + sinks))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(line_folder / "notify"))
        manager.setblocking(False)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "NOTIFY_SOCKET": str(line_folder / "notify"),
        }
        command = [sys.executable, "-c", "from zsad.cli.run import main; main()"]
        with (line_folder / "log").open("wb") as log:
            daemon = subprocess.Popen(
                [*command, "--config", str(file)], stdout=log, stderr=log, env=environment
            )
        try:
            drop("one", 51)
            status = answered(own, daemon, line_folder / "log")
        finally:
            daemon.terminate()
            daemon.wait(20)
            server.shutdown()
            server.server_close()
        told = b"".join(iter(lambda: received(manager), b""))
    said = (line_folder / "log").read_text()
    assert daemon.returncode == 0, said
    assert said.count(" is down: ") >= 3 and "camera film: backing off" in said, said
    places = {"log": said.encode(), "status": json.dumps(status).encode(), "systemd": told}
    ledger = line_folder / "ledger"
    places |= {path.name: path.read_bytes() for path in ledger.rglob("*") if path.is_file()}
    for name, content in places.items():
        for piece in PIECES:
            assert piece.encode() not in content, (name, piece)


def answered(port, daemon, log, timeout_s=40):
    """The line's status, once every camera and every sink but one is down."""
    until_s = time.monotonic() + timeout_s
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/status", headers={"Authorization": f"Bearer {IN_ENVIRONMENT}"}
    )
    while True:
        assert daemon.poll() is None and time.monotonic() < until_s, log.read_text()
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                status = json.load(answer)
        except OSError:
            status = None
        said = log.read_text()
        wanted = (
            "sink mes is down",
            "sink other is down",
            "camera film: backing off",
            "rtsp: backing",
        )
        if status is not None and all(each in said for each in wanted):
            return status
        time.sleep(0.1)


def received(manager):
    try:
        return manager.recv(1 << 16)
    except BlockingIOError:
        return b""
