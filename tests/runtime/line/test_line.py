"""A whole line, as the real process that systemd or a shell would start."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zsad.cli.run import main
from zsad.recipe import write_recipe

LINE = """\
line: press 4
artifact: artifact
recipe: part.json
ledger_folder: ledger
engine: {backend: cpu, threads: 1, max_batch: 2}
cameras:
  - {name: film, source: film.avi}
  - {name: drop, source: drop}
sinks:
  jsonl:
    file: {path: verdicts.jsonl}
"""

FRAMES = 12


@pytest.fixture
def folder(tmp_path, make_artifact, make_recipe):
    """A line's folder: an artifact, a recipe, a film of dark frames and a folder for pictures."""
    path = make_artifact()
    write_recipe(tmp_path / "part.json", make_recipe(path, 0.5))
    film = cv2.VideoWriter(
        str(tmp_path / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (48, 32)
    )
    for _ in range(FRAMES):
        film.write(np.full((32, 48, 3), 51, np.uint8))
    film.release()
    (tmp_path / "drop").mkdir()
    (tmp_path / "line.yaml").write_text(LINE)
    return tmp_path


def drop(folder, name, level):
    """Put a picture into the watched folder, whole or not at all."""
    picture = np.full((8, 12, 3), level, np.uint8)
    cv2.imwrite(str(folder / f"{name}.part.png"), picture)
    os.rename(folder / f"{name}.part.png", folder / "drop" / f"{name}.png")


class Daemon:
    """`zsad-run --config`, and what it wrote so far."""

    def __init__(self, folder, **environment):
        self.folder = folder
        paths = [path for path in sys.path if path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment}
        command = [sys.executable, "-c", "from zsad.cli.run import main; main()"]
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [*command, "--config", str(folder / "line.yaml")],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def said(self):
        return (self.folder / "log").read_text()

    def rows(self, query):
        file = self.folder / "ledger" / "ledger.sqlite"
        if not file.exists():
            return []
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5) as database:
            return database.execute(query).fetchall()

    def lines(self):
        file = self.folder / "verdicts.jsonl"
        text = file.read_text() if file.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def until(self, condition, timeout_s=40):
        until_s = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until_s, self.said()
            time.sleep(0.05)

    def stop(self):
        """Ask it to stop, and return how long that took."""
        begin_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - begin_s


@pytest.fixture
def start(folder):
    daemons = []

    def start(**environment):
        daemons.append(Daemon(folder, **environment))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.process.kill()
        daemon.process.wait()
        daemon.log.close()


def test_two_cameras_become_rows_and_lines_and_sigterm_ends_it_within_five_seconds(folder, start):
    daemon = start()
    daemon.until(lambda: len(daemon.lines()) == FRAMES)
    drop(folder, "good", 51)
    drop(folder, "bad", 204)
    daemon.until(lambda: len(daemon.lines()) == FRAMES + 2)
    assert daemon.stop() < 5
    assert daemon.process.returncode == 0
    lines = daemon.lines()
    assert [line["seq"] for line in lines] == list(range(1, FRAMES + 3))
    found = {(v["camera"], v["frame"]): line for line in lines for v in line["views"]}
    assert found["drop", "good.png"]["verdict"] == "OK"
    assert found["drop", "bad.png"]["verdict"] == "NG"
    assert {found["film", str(n)]["verdict"] for n in range(FRAMES)} == {"OK"}
    assert {line["line"] for line in lines} == {"press 4"}
    rows = daemon.rows("SELECT seq, verdict FROM verdicts ORDER BY seq")
    assert rows == [(line["seq"], line["verdict"]) for line in lines]
    said = daemon.said()
    assert f"film: {FRAMES} captured = {FRAMES} judged + 0 dropped + 0 in flight" in said
    assert "drop: 2 captured = 2 judged + 0 dropped + 0 in flight" in said
    assert "acknowledged by file" in said
    assert "Traceback" not in said
