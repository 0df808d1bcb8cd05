"""A line runs for hours, and nothing that it holds may grow.

    python benchmarks/soak.py dive/ --minutes 480 --json soak.json
    python benchmarks/soak.py --minutes 60 -- any-daemon --with options

The first drives `zsad-run --config` with a network camera that is broken and mended all the time
and a folder that fills, and holds what consumers were told against the ledger in the end. The
second only watches a command's memory, descriptors and threads.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click

import machine
from options import json_option
from soak_line import SoakLine, soak_line
from soak_trend import Growth, Resource, Sample, growths, read_process
from zsad.command import Command, FiniteRange
from zsad.errors import InputError
from zsad.schema import write_json

SCHEMA = 1
STOP_S = 5.0
"""Within this a line must have ended after SIGTERM."""

FAULT_EVERY = 30
"""Turns from one fault of the camera to the next."""

_KEPT_SAMPLES = 200
_LINE_COMMAND = ("zsad-run", "--config", "line.yaml")  # without this machine's own paths


@dataclass(frozen=True)
class Report:
    """One soak.

    Attributes:
        command: What ran.
        minutes: How long.
        growths: Of each resource, after the warm-up.
        faults: What else was wrong; empty where nothing was.
        verdicts: Verdicts that the line reached; None for any other command.
        stop_s: Seconds from SIGTERM to the end.
        samples: At most some hundreds, evenly spread.
        machine: What it ran on.
    """

    command: tuple[str, ...]
    minutes: float
    growths: dict[Resource, Growth]
    faults: tuple[str, ...]
    verdicts: int | None
    stop_s: float
    samples: tuple[Sample, ...]
    machine: dict[str, object] = field(default_factory=machine.describe)
    schema: int = SCHEMA

    @property
    def leaks(self) -> bool:
        """Whether something is shown to grow."""
        return any(each.judgement == "leaks" for each in self.growths.values())


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path), required=False)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--minutes", type=FiniteRange(0, min_open=True), default=60.0, show_default=True)
@click.option("--every-s", type=FiniteRange(0.05), default=1.0, show_default=True)
@click.option("--rate-hz", type=FiniteRange(1), default=20.0, show_default=True)
@json_option
def main(
    artifact: Path | None,
    command: tuple[str, ...],
    minutes: float,
    every_s: float,
    rate_hz: float,
    json_path: Path | None,
) -> None:
    """Run a line on ARTIFACT, or any COMMAND after `--`, and fail if it leaks."""
    if artifact is None:
        raise InputError("name an artifact, or a command after --: soak.py dive/ --minutes 60")
    with ExitStack() as stack:
        line: SoakLine | None = None
        if artifact.is_dir():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zsad-soak-")))
            line = stack.enter_context(soak_line(folder / "line", artifact, rate_hz))
            run = "from zsad.cli.run import main; main()"
            command = (sys.executable, "-c", run, "--config", str(line.folder / "line.yaml"))
        else:
            command = (str(artifact), *command)
        report = soak(command, minutes * 60, every_s, line)
    for resource, found in report.growths.items():
        click.echo(f"{resource}: {describe(found)}")
    for fault in report.faults:
        click.echo(f"FAULT: {fault}")
    click.echo(f"{report.verdicts} verdicts, ended {report.stop_s:.1f} s after SIGTERM")
    if json_path is not None:
        write_json(json_path, report)
    if report.leaks or report.faults:
        sys.exit(1)


def soak(
    command: Sequence[str],
    seconds: float,
    every_s: float = 1.0,
    line: SoakLine | None = None,
    progress: Callable[[Sample], None] = lambda sample: None,
) -> Report:
    """Run a command for so long, sample it, stop it, and judge.

    Args:
        command: The command line.
        seconds: How long.
        every_s: Seconds between two samples, and between two parts in a line's folder.
        line: The world around a line; None for any other command.
        progress: Told of each sample.
    """
    faults: list[str] = []
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(list(command), stdout=log, stderr=subprocess.STDOUT)
        try:
            samples, died = _watch(process, seconds, every_s, line, progress)
        finally:
            stop_s, code = _stop(process)
        log.seek(0)
        said = log.read().decode(errors="replace").strip()
    if died:
        faults.append(f"it ended by itself with {code}: {said[-300:]}")
    elif stop_s > STOP_S:
        faults.append(f"it took {stop_s:.1f} s to end after SIGTERM")
    if line is not None:
        faults += [f"it ended with {code}: {said[-300:]}"] if code else []
        faults += line.faults_in_results()
        faults += _standstill(samples, FAULT_EVERY)
    return Report(
        command=_LINE_COMMAND if line is not None else tuple(command),
        minutes=seconds / 60,
        growths=growths(samples) if len(samples) > 4 else {},
        faults=tuple(faults),
        verdicts=None if line is None else line.verdicts(),
        stop_s=stop_s,
        samples=tuple(samples[:: max(1, len(samples) // _KEPT_SAMPLES)]),
    )


def describe(found: Growth) -> str:
    """Return a growth as text."""
    return (
        f"{found.judgement}: {found.per_h:+.2f} an hour [{found.low:+.2f}, {found.high:+.2f}],"
        f" limit {found.limit_per_h:g}"
    )


def _watch(
    process: subprocess.Popen[bytes],
    seconds: float,
    every_s: float,
    line: SoakLine | None,
    progress: Callable[[Sample], None],
) -> tuple[list[Sample], bool]:
    samples: list[Sample] = []
    begun = time.monotonic()
    for turn in range(1, 1 + int(seconds / every_s)):
        time.sleep(max(0.0, begun + turn * every_s - time.monotonic()))
        if process.poll() is not None:
            return samples, True
        if line is not None:
            line.stir(turn, FAULT_EVERY)
        counted = None if line is None else line.verdicts()
        try:
            samples.append(read_process(process.pid, time.monotonic() - begun, counted))
        except ProcessLookupError:
            return samples, True
        progress(samples[-1])
    return samples, False


def _stop(process: subprocess.Popen[bytes]) -> tuple[float, int]:
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(4 * STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    return time.monotonic() - begun, code


def _standstill(samples: Sequence[Sample], cycle: int) -> list[str]:
    """Whether verdicts still came in the last quarter, against the two before.

    A quarter that is shorter than a fault's cycle tells nothing: it may be all fault.
    """
    counts = [sample.verdicts or 0 for sample in samples]
    if len(counts) < 4 * cycle:
        return []
    quarter = len(counts) // 4
    before, last = counts[-1 - quarter] - counts[quarter], counts[-1] - counts[-1 - quarter]
    if last * 4 >= before:  # half of what it was, for half the time
        return []
    return [f"verdicts all but stopped: {last} in the last quarter, {before} in the two before"]


if __name__ == "__main__":
    main()
