"""What judging and committing cost while consumers and the disk fail.

    mount -t tmpfs -o size=16m tmpfs /mnt/small
    python benchmarks/isolation.py dive/ --small-disk /mnt/small --json isolation.json

A broker that is up, gone, frozen (SIGSTOP) or slow (frozen for most of the time), and a disk that
is full, take turns, so that what else the machine does falls on all alike. Each frame is judged and
its verdict committed, as on a line, while the courier of the real MQTT sink runs beside it. A
commit that is refused counts with the time that the refusal took.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fault_broker import Broker
from isolation_report import Found, Taken, findings, table
from options import json_option
from zsad.command import Command
from zsad.errors import LedgerError

if TYPE_CHECKING:
    from zsad.detector import Detector
    from zsad.ledger import Ledger
    from zsad.line.status import LineStatus
    from zsad.types import ImageU8

UP, DOWN, FROZEN, SLOW, FULL = (
    "broker up",
    "broker down",
    "broker frozen",
    "broker slow",
    "full disk",
)

_PATIENCE_S = 10.0
_UTC = "2026-01-01T00:00:00.000+00:00"


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path, exists=True))
@click.option("--frames", type=click.IntRange(2), default=50, show_default=True, help="Per turn.")
@click.option("--turns", type=click.IntRange(1), default=4, show_default=True, help="Of each.")
@click.option(
    "--small-disk",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A small file system, which is filled. Without it a full disk is left out.",
)
@json_option
def main(
    artifact: Path, frames: int, turns: int, small_disk: Path | None, json_path: Path | None
) -> None:
    """Time ARTIFACT's frames, judged and committed, while brokers and disks fail."""
    from machine import describe
    from zsad.detector import Detector
    from zsad.schema import write_json

    before = os.getloadavg()
    with Detector.load(artifact, backend="cpu", threads=1) as detector:
        detector.warm_up()
        rows = measure(detector, frames, turns, small_disk)
    click.echo(table(rows))
    if json_path is not None:
        load = {"before": round(before[0], 2), "after": round(os.getloadavg()[0], 2)}
        asked = {"frames": frames, "turns": turns}
        write_json(json_path, {"machine": describe(), "load_1min": load, **asked, "rows": rows})
        click.echo(str(json_path))


def measure(detector: Detector, frames: int, turns: int, small_disk: Path | None) -> list[Found]:
    """Return what each condition costs; they take turns."""
    taken: dict[str, Taken] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zsad-isolation-")))
        broker = stack.enter_context(Broker.started(folder))
        ledger = stack.enter_context(_told_ledger(folder / "ledger", broker.port))
        conditions: dict[str, tuple[Ledger, Callable[[], Any]]] = {
            UP: (ledger, ExitStack),
            DOWN: (ledger, broker.down),
            FROZEN: (ledger, broker.frozen),
            SLOW: (ledger, broker.slow),
        }
        if small_disk is not None:
            small = stack.enter_context(_told_ledger(small_disk / "ledger", broker.port))
            conditions[FULL] = (small, lambda: _filled(small_disk / "filler"))
        for _ in range(turns):
            for name, (into, fault) in conditions.items():
                with fault():
                    _judge_and_commit(detector, into, frames, taken.setdefault(name, Taken()))
    return findings(taken)


@contextmanager
def _told_ledger(folder: Path, port: int) -> Iterator[Ledger]:
    """Give an open ledger whose verdicts a courier carries to the broker."""
    from zsad.ledger import Ledger, LedgerConfig, RetentionConfig
    from zsad.schema import from_json
    from zsad.sinks import SinksConfig, open_sinks

    limits = {"connect_s": 0.5, "ack_s": 0.5}
    told = {"mqtt": {"b": {"host": "127.0.0.1", "port": port, "client_id": folder.parent.name}}}
    told["mqtt"]["b"] |= limits
    # Pictures are tried to the last byte, or a disk that is nearly full would never fail.
    config = LedgerConfig(retention=RetentionConfig(free_gib=0))
    with Ledger.open(folder, config) as ledger:
        couriers = open_sinks(from_json(SinksConfig, told, "isolation"), ledger, _status)
        for courier in couriers:
            courier.start()
        try:
            yield ledger
        finally:
            for courier in couriers:
                courier.stop(_PATIENCE_S)


def _status() -> LineStatus:
    from zsad.line.status import LineState, LineStatus

    return LineStatus("line", LineState.RUNNING, (), 1, {}, {}, {}, 0, {}, None, "cpu")


@contextmanager
def _filled(filler: Path) -> Iterator[None]:
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass
    try:
        yield
    finally:
        filler.unlink()


def _judge_and_commit(detector: Detector, ledger: Ledger, frames: int, taken: Taken) -> None:
    import numpy as np

    from zsad.ledger import Picture

    spec = detector.artifact.manifest.preprocess
    rng = np.random.default_rng(0)
    for _ in range(frames):
        frame = rng.integers(0, 256, (spec.height, spec.width, 3), np.uint8)
        start_s = time.perf_counter()
        score = detector.predict(frame).score
        judged_s = time.perf_counter()
        try:
            ledger.commit(_record(frame, score), [Picture(0, frame, None)])
        except LedgerError:
            taken.refused += 1
        taken.judged_ms.append((judged_s - start_s) * 1e3)
        taken.committed_ms.append((time.perf_counter() - judged_s) * 1e3)


def _record(frame: ImageU8, score: float) -> Any:
    from zsad.images import frame_sha256
    from zsad.line.record import VerdictRecord, ViewRecord

    view = ViewRecord(
        camera="top",
        frame="0",
        frame_sha256=frame_sha256(frame),
        verdict="NG",  # whose pictures are always kept
        reason=None,
        score=score,
        p_value=None,
        threshold=0.0,
        score_kind="graph",
        artifact="a" * 64,
        graph="b" * 64,
        backend="cpu",
    )
    return VerdictRecord(0, "line", "part", "NG", None, (view,), _UTC, _UTC, 40.0)


if __name__ == "__main__":
    main()
