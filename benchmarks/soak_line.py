"""A line that never rests: a camera with a fault every so often, and a folder that fills."""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from fault_cameras import CameraProcess, fake_camera

FAULTS = ("stall", "reset", "garbage", "size", "end", "half", "no-data")
"""Put into the network camera in turn; between two of them it is well."""

_COUNT = "SELECT coalesce(max(seq), 0) FROM verdicts"

_LINE = """\
line: soak
artifact: {artifact}
ledger_folder: ledger
engine: {{backend: cpu, threads: 1}}
cameras:
  - name: net
    source: http://127.0.0.1:{port}/live
    stall_s: 1
    open_timeout_s: 2
    read_timeout_s: 1
    backoff: {{first_s: 0.1, cap_s: 1}}
  - {{name: folder, source: parts}}
sinks:
  jsonl:
    archive: {{path: verdicts.jsonl}}
ledger:
  snapshots: {{uncalibrated_every: 10}}
  retention: {{pictures_gib: 0.05, free_gib: 0}}
watch:
  replay: {{every_s: 5}}
"""


@dataclass
class SoakLine:
    """A line's folder and the world around it.

    Attributes:
        folder: Where its configuration, ledger and files are.
        camera: The network camera.
    """

    folder: Path
    camera: CameraProcess
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _faults: Iterator[str] = field(default_factory=lambda: itertools.cycle(FAULTS))

    def stir(self, turn: int, fault_every: int) -> None:
        """Add a part to the folder, and put a fault into the camera or take it out again."""
        self._add_part()
        phase = turn % fault_every
        if phase == fault_every // 2:
            self.camera.obey(next(self._faults))
        elif phase == 0:
            self.camera.obey("none")

    def verdicts(self) -> int | None:
        """Return how many verdicts the ledger holds; None before there is one."""
        file = self.folder / "ledger" / "ledger.sqlite"
        if not file.exists():
            return None
        try:
            ledger = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)
            try:
                return int(ledger.execute(_COUNT).fetchone()[0])
            finally:
                ledger.close()
        except sqlite3.OperationalError:
            return None  # its tables are being made

    def faults_in_results(self) -> list[str]:
        """Hold the ledger against what its consumer was told, after the line has stopped."""
        total = self.verdicts() or 0
        file = self.folder / "verdicts.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        told = {json.loads(line)["seq"] for line in lines}
        missing = sorted(set(range(1, total + 1)) - told)
        found = [] if total else ["the ledger holds no verdict"]
        if missing:
            found.append(f"{len(missing)} of {total} verdicts were not told, first {missing[0]}")
        if unknown := told - set(range(1, total + 1)):
            found.append(f"{len(unknown)} verdicts were told that the ledger does not hold")
        return found

    def _add_part(self) -> None:
        number = next(self._numbers)
        level = 20 + number * 37 % 200
        picture = np.full((120, 160, 3), level, np.uint8)
        cv2.imwrite(str(self.folder / "new.png"), picture)
        (self.folder / "new.png").rename(self.folder / "parts" / f"part-{number:08}.png")
        (self.folder / "parts" / f"part-{number - 100:08}.png").unlink(missing_ok=True)


@contextmanager
def soak_line(folder: Path, artifact: Path, rate_hz: float) -> Iterator[SoakLine]:
    """Start a camera and write the configuration of a line that it and a folder feed."""
    (folder / "parts").mkdir(parents=True)
    shutil.copytree(artifact, folder / "artifact")
    camera = fake_camera("http", "--rate-hz", str(rate_hz))
    try:
        text = _LINE.format(artifact="artifact", port=camera.port)
        (folder / "line.yaml").write_text(text)
        yield SoakLine(folder, camera)
    finally:
        camera.close()
