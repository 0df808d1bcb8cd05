import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from zsad.recipe import write_recipe

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
