"""Steps of a pipeline: run in order, timed, and skipped where their result is already there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from zsad.errors import InputError, ZsadError
from zsad.schema import read_json, write_atomic, write_json

RECORD = "steps.json"


@dataclass(frozen=True)
class Step:
    """One step: a command line, or a function where no command does it.

    Attributes:
        name: Short and unique.
        says: What it does, in one sentence for the reader of the terminal.
        command: The command line, the first word a command of zsad or `python`.
        outputs: Files that stand when it is done.
        make: Called instead of a command; what it returns is printed.
    """

    name: str
    says: str
    command: tuple[str, ...]
    outputs: tuple[Path, ...]
    make: Callable[[], str] | None = None


class StepFailedError(ZsadError):
    """A command ended with an error, which it has printed itself."""

    def __init__(self, step: Step, code: int) -> None:
        """Take over the exit code of the command."""
        super().__init__(f"step '{step.name}' ended with exit code {code}: {shown(step)}")
        self.exit_code = code


def run_steps(steps: Sequence[Step], folder: Path, force: bool) -> dict[str, float]:
    """Run the steps in order and return their seconds; 0 for a step that was skipped.

    A step is skipped, its words of the last time repeated, if its outputs are there, its command
    line is the same as then and no step before it had to run. Changed code is not noticed: that is
    what `force` is for.

    Args:
        steps: In order; every step may need all before it.
        folder: Where the record and the words of each step are kept.
        force: Run every step.

    Raises:
        StepFailedError: A command failed; the steps before it stay done.
    """
    done = {} if force else _read_record(folder / RECORD)
    seconds: dict[str, float] = {}
    fresh = not force
    for number, step in enumerate(steps, start=1):
        click.echo(f"\n[{number}/{len(steps)}] {step.says}\n$ {shown(step)}")
        words = folder / f"{step.name}.txt"
        fresh = fresh and _is_done(step, done, words)
        if fresh:
            click.echo(words.read_text(encoding="utf-8"), nl=False)
            seconds[step.name] = 0.0
            continue
        done.pop(step.name, None)
        write_json(folder / RECORD, done)
        start = time.perf_counter()
        write_atomic(words, _run(step).encode())
        seconds[step.name] = time.perf_counter() - start
        done[step.name] = list(step.command)
        write_json(folder / RECORD, done)
        click.echo(f"({seconds[step.name]:.0f} s)")
    return seconds


def shown(step: Step) -> str:
    """Return the command line as one would type it."""
    return " ".join(f"'{word}'" if " " in word else word for word in step.command)


def _is_done(step: Step, done: dict[str, list[str]], words: Path) -> bool:
    files = (*step.outputs, words)
    return done.get(step.name) == list(step.command) and all(path.exists() for path in files)


def _run(step: Step) -> str:
    if step.make is not None:
        words = step.make() + "\n"
        click.echo(words, nl=False)
        return words
    lines = []
    command = [_program(step.command[0]), *step.command[1:]]
    # Progress bars go to standard error, which stays the terminal's.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            click.echo(line, nl=False)
            lines.append(line)
    if process.returncode:
        raise StepFailedError(step, process.returncode)
    return "".join(lines)


def _program(name: str) -> str:
    if name == "python":
        return sys.executable
    # Beside the interpreter: the environment may not be activated.
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise InputError(f"command {name} is not in {Path(sys.executable).parent}: make install")
    return found


def _read_record(path: Path) -> dict[str, list[str]]:
    if not path.exists():
        return {}
    try:
        record = read_json(path, "record of steps")
    except InputError:
        return {}
    return record if isinstance(record, dict) else {}
