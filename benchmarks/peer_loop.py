"""A contender of `peers.py` in a process of its own, under whichever Python has its packages.

It makes its files, or it loads them and then judges the same frame as often as it is told to. Needs
numpy alone, since the environment of another project has none of ours.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

Run = Callable[[Any], float]
"""Judges a camera frame (H, W, 3) uint8 BGR and returns its score; the map is computed too."""


@dataclass(frozen=True)
class Setup:
    """What every contender is given.

    Attributes:
        frame_hw: Rows and columns of the camera frame.
        threads: CPU threads.
        folder: Where the contender keeps its files; empty before `prepare`.
        good_frames: Pictures of good parts for those that want some.
        source: What to load, for contenders of our own: an artifact, a checkpoint.
        backend: What runs it, for an artifact.
        precision: Its graph, for an artifact.
    """

    frame_hw: tuple[int, int]
    threads: int
    folder: str
    good_frames: int
    source: str = ""
    backend: str = "cpu"
    precision: str = "fp32"


@dataclass(frozen=True)
class Loaded:
    """A contender that is ready.

    Attributes:
        run: Judges a frame.
        files: What a device would need, files or folders, without the packages.
        remarks: What was unlike its normal use, such as random weights.
    """

    run: Run
    files: tuple[Path, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contender:
    """How a contender makes its files, if it has to, and how it loads.

    Attributes:
        load: Makes it ready; timed as its cold start, imports included.
        prepare: Trains or exports into `Setup.folder`.
    """

    load: Callable[[Setup], Loaded]
    prepare: Callable[[Setup], None] = field(default=lambda setup: None)


def camera_frame(frame_hw: tuple[int, int], seed: int = 0) -> Any:
    """Return a frame (H, W, 3) uint8 BGR: noise over a slope, the same for every contender."""
    rng = np.random.default_rng(seed)
    height, width = frame_hw
    slope = np.linspace(40, 200, width)[None, :, None]
    return np.clip(slope + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def folder_bytes(files: tuple[Path, ...]) -> int:
    """Return the size of files and folders together."""
    found = (f for path in files for f in (path.rglob("*") if path.is_dir() else [path]))
    return sum(file.stat().st_size for file in found if file.is_file())


def main(contenders: Mapping[str, Contender]) -> None:
    """Do what the command line says: `prepare NAME SETUP` or `serve NAME SETUP`, SETUP as JSON."""
    start = time.perf_counter()
    task, name, text = sys.argv[1:]
    values = json.loads(text)
    setup = Setup(**{**values, "frame_hw": tuple(values["frame_hw"])})
    # Libraries print as they like; what is said to the parent goes its own way.
    with os.fdopen(os.dup(1), "w", buffering=1) as parent:
        os.dup2(2, 1)
        try:
            if task == "prepare":
                contenders[name].prepare(setup)
                _say(parent, {"prepared_s": time.perf_counter() - start})
            else:
                _serve(contenders[name], setup, parent, start)
        except Exception as error:  # whatever another project raises is its result here
            _say(parent, {"error": f"{type(error).__name__}: {_first_line(error)}"})
            raise SystemExit(1) from error


def _serve(contender: Contender, setup: Setup, parent: TextIO, start: float) -> None:
    frame = camera_frame(setup.frame_hw)
    loaded = contender.load(setup)
    score = loaded.run(frame)
    ready = {
        "cold_start_s": time.perf_counter() - start,
        "score": score,
        "disk_bytes": folder_bytes(loaded.files),
        "remarks": list(loaded.remarks),
    }
    _say(parent, ready)
    for _ in sys.stdin:
        begin = time.perf_counter()
        loaded.run(frame)
        _say(parent, {"ms": (time.perf_counter() - begin) * 1e3})


def _say(parent: TextIO, what: Mapping[str, object]) -> None:
    parent.write(json.dumps(what) + "\n")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
