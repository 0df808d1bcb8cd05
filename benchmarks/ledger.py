"""What a verdict costs until it is on the disk: commits per second, and how long each one takes.

    python benchmarks/ledger.py /var/lib/zsad --json benchmarks/results/ledger.json

Run it on the disk that the ledger will lie on; the folder it makes there is removed. Verdicts
without a picture, with the heat map alone, and with the lossless frame take turns, so that what
else the disk has to do falls on all alike. The floor is one write of a page and its fdatasync,
which no durable commit can do without.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accuracy_table import markdown
from options import json_option
from zsad.command import Command

if TYPE_CHECKING:
    from zsad.ledger import Ledger

    Contender = Callable[[], object]

FLOOR = "one page and its fdatasync"
PLAIN = "verdict"
HEAT_MAP = "verdict and heat map"
FRAME = "verdict, heat map and frame"

_PAGE_BYTES = 4096
_UTC = "2026-01-01T00:00:00.000+00:00"


@dataclass(frozen=True)
class Found:
    """What one kind of commit costs.

    Attributes:
        what: The kind.
        per_s: Commits per second, one after the other.
        p50_ms: Median of a commit.
        p99_ms: Its 99th percentile.
        times_floor: Its median over that of the floor.
    """

    what: str
    per_s: float
    p50_ms: float
    p99_ms: float
    times_floor: float


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--runs", type=click.IntRange(2), default=300, show_default=True, help="Commits.")
@click.option("--width", type=click.IntRange(1), default=1920, show_default=True, help="Pixels.")
@click.option("--height", type=click.IntRange(1), default=1080, show_default=True, help="Pixels.")
@json_option
def main(folder: Path, runs: int, width: int, height: int, json_path: Path | None) -> None:
    """Time commits to a ledger below FOLDER and print the table."""
    from machine import describe
    from zsad.schema import write_json

    with (
        tempfile.TemporaryDirectory(dir=folder, prefix="zsad-ledger-") as scratch,
        contenders(Path(scratch), height, width) as all_of_them,
    ):
        taken = time_each(all_of_them, runs)
    rows = findings(taken)
    click.echo(table(rows))
    if json_path is not None:
        asked = {"runs": runs, "width": width, "height": height}
        write_json(json_path, {"machine": describe(), **asked, "commits": rows})
        click.echo(str(json_path))


@contextmanager
def contenders(folder: Path, height: int, width: int) -> Iterator[Mapping[str, Contender]]:
    """Give what is timed, by name; the ledger is open meanwhile."""
    from zsad.images import frame_sha256
    from zsad.ledger import Ledger, LedgerConfig, Picture
    from zsad.overlay import encode_jpeg

    frame = camera_frame(height, width)
    digest = frame_sha256(frame)
    heat_map = encode_jpeg(frame)
    descriptor = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT)
    page = bytes(_PAGE_BYTES)

    def floor() -> None:
        os.pwrite(descriptor, page, os.lseek(descriptor, 0, os.SEEK_END))
        os.fdatasync(descriptor)

    try:
        # No time limit: what is slow is a figure here, and no fault.
        with Ledger.open(folder / "ledger", LedgerConfig(commit_timeout_s=60.0)) as ledger:
            yield {
                FLOOR: floor,
                PLAIN: _commit(ledger, digest, []),
                HEAT_MAP: _commit(ledger, digest, [Picture(0, None, heat_map)]),
                FRAME: _commit(ledger, digest, [Picture(0, frame, heat_map)]),
            }
    finally:
        os.close(descriptor)


def camera_frame(height: int, width: int) -> Any:
    """Return a frame with shading and sensor noise, (height, width, 3) uint8 BGR."""
    import numpy as np

    rows, columns = np.mgrid[0:height, 0:width]
    shading = 110 + 40 * np.sin(columns / 90) + 30 * np.cos(rows / 70)
    noise = np.random.default_rng(0).normal(0, 3, (height, width, 3))
    return np.clip(shading[..., None] + noise, 0, 255).astype(np.uint8)


def _commit(ledger: Ledger, digest: str, pictures: Sequence[Any]) -> Contender:
    from zsad.line.record import VerdictRecord, ViewRecord

    view = ViewRecord(
        camera="top",
        frame="0",
        frame_sha256=digest,
        verdict="NG",  # whose pictures are always kept
        reason=None,
        score=0.75,
        p_value=0.01,
        threshold=0.5,
        score_kind="graph",
        artifact="a" * 64,
        graph="b" * 64,
        backend="cpu",
        recipe="c" * 64,
    )
    record = VerdictRecord(0, "line", "part", "NG", None, (view,), _UTC, _UTC, 40.0)
    return lambda: ledger.commit(record, pictures)


def time_each(contenders: Mapping[str, Contender], runs: int) -> dict[str, list[float]]:
    """Return milliseconds per run; the contenders take turns, and a first turn is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(runs + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if turn:
                taken[name].append((time.perf_counter() - start) * 1e3)
    return taken


def findings(taken: Mapping[str, Sequence[float]]) -> list[Found]:
    """Return what each contender costs, given the milliseconds of its runs."""
    import numpy as np

    floor = float(np.median(taken[FLOOR]))
    found = []
    for name, values in taken.items():
        p50, p99 = (float(each) for each in np.percentile(values, [50, 99]))
        found.append(Found(name, 1e3 * len(values) / sum(values), p50, p99, p50 / floor))
    return found


def table(rows: Sequence[Found]) -> str:
    """Return the costs as a Markdown table."""
    return markdown(
        ["commit", "per second", "p50 ms", "p99 ms", "times the floor"],
        [
            [
                row.what,
                f"{row.per_s:.0f}",
                f"{row.p50_ms:.2f}",
                f"{row.p99_ms:.2f}",
                f"{row.times_floor:.1f}",
            ]
            for row in rows
        ],
    )


if __name__ == "__main__":
    main()
