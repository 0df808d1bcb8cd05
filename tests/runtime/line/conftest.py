import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from judges_rig import CAMERAS
from waiting import wait_until

from zsad.golden import GoldenFrame, GoldenOutputs
from zsad.line.config import EngineConfig, LineConfig
from zsad.line.judges import LineJudges
from zsad.line.latency import Latencies
from zsad.line.monitor import Monitor
from zsad.line.recipes import read_recipes
from zsad.recipe import write_recipe
from zsad.watch.config import ReplayConfig, WatchConfig

FAKES = Path(__file__).parents[2] / "fakes"
FRAMES = 12

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


@pytest.fixture
def line_folder(tmp_path, make_artifact, make_recipe):
    """A line's folder: an artifact, a recipe, a film of dark frames and a folder for pictures."""
    path = make_artifact()
    write_recipe(tmp_path / "part.json", make_recipe(path, 0.5))
    codec = cv2.VideoWriter_fourcc(*"MJPG")
    film = cv2.VideoWriter(str(tmp_path / "film.avi"), codec, 10, (48, 32))
    for _ in range(FRAMES):
        film.write(np.full((32, 48, 3), 51, np.uint8))
    film.release()
    (tmp_path / "drop").mkdir()
    (tmp_path / "line.yaml").write_text(LINE)
    return tmp_path


@pytest.fixture
def drop(line_folder):
    """Return `drop(name, level)`: puts a picture into the watched folder, whole or not at all."""

    def put(name, level):
        picture = np.full((8, 12, 3), level, np.uint8)
        cv2.imwrite(str(line_folder / f"{name}.png"), picture)
        os.rename(line_folder / f"{name}.png", line_folder / "drop" / f"{name}.png")

    return put


@pytest.fixture
def artifact(make_artifact, reseal):
    """Two graphs that do the same, and golden frames that say what it is."""
    from zsad_export.golden import write_golden

    path = make_artifact(precisions=("fp32", "fp16"))
    levels = (20, 90, 200)
    frames = [GoldenFrame(f"grey{g}", np.full((8, 12, 3), g, np.uint8)) for g in levels]
    maps = np.stack([np.full((8, 12), np.float32(g / 255)) for g in levels])
    write_golden(path, frames, GoldenOutputs(np.float32([g / 255 for g in levels]), maps))
    reseal(path)
    return path


@pytest.fixture
def doubts():
    """Why the judges doubted what they had said, in order."""
    return []


@pytest.fixture
def open_judges(artifact, make_recipe, tmp_path, doubts):
    """Return `open(recipes by camera, **watch)`: judges, their monitor and what they audited."""
    opened = []

    def open_them(recipes, precision="fp32", backend="cpu", max_batch=4, spin=True, **replay):
        for name, recipe in recipes.items():
            write_recipe(tmp_path / f"{name}.json", recipe)
        config = LineConfig(
            "press",
            str(artifact),
            CAMERAS,
            str(tmp_path / "ledger"),
            recipes={name: str(tmp_path / f"{name}.json") for name in recipes},
            engine=EngineConfig(backend, precision, 1, max_batch, spin=spin),
            watch=WatchConfig(ReplayConfig(**replay)),
        )
        monitor, changes = Monitor("press", {}, Latencies()), []
        judges = LineJudges(config, read_recipes(config), monitor, changes.append, doubts.append)
        monitor.ready()
        opened.append(judges)
        return judges, monitor, changes

    yield open_them
    for judges in opened:
        judges.close()


@pytest.fixture
def camera(request):
    """A network camera in a process of its own: its port, and `obey(fault)`."""
    rate_hz = getattr(request, "param", 10)
    command = [sys.executable, str(FAKES / "fake_camera.py"), "http", "--rate-hz", str(rate_hz)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    port = int(process.stdout.readline())

    def obey(fault):
        process.stdin.write(f"{fault}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"

    yield SimpleNamespace(port=port, obey=obey)
    process.kill()
    process.communicate()


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
        def came():
            assert self.process.poll() is None, self.said()
            return condition()

        wait_until(came, timeout_s, self.said)

    def stop(self):
        """Ask it to stop, and return how long that took."""
        begin_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - begin_s


@pytest.fixture
def start(line_folder):
    """Return `start(**environment)`: the line of `line_folder` as a process."""
    daemons = []

    def start(**environment):
        daemons.append(Daemon(line_folder, **environment))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.process.kill()
        daemon.process.wait()
        daemon.log.close()
