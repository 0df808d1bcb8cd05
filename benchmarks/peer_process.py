"""A contender's process as `peers.py` sees it: prepared, started, asked, ended."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from machine import peak_bytes
from peer_loop import Setup


class PeerError(Exception):
    """A contender that could not be prepared, loaded or run; its text is its row."""


@dataclass(frozen=True)
class Worker:
    """A contender's process, ready to judge.

    Attributes:
        facts: What it said when it was ready.
    """

    process: subprocess.Popen[str]
    facts: dict[str, Any]

    def run(self) -> dict[str, float]:
        """Judge the frame once; its own milliseconds."""
        return {"total": float(ask(self.process, "run")["ms"])}

    def peak_bytes(self) -> int | None:
        """Return the largest resident memory of the process so far, where Linux tells it."""
        return peak_bytes(self.process.pid)


@contextmanager
def started(command: list[str], name: str, setup: Setup, folder: Path) -> Iterator[Worker]:
    """Prepare a contender in one process, load it in another, and end that in the end.

    Raises:
        PeerError: It fails.
    """
    text = json.dumps(asdict(replace(setup, folder=str(folder))))
    environment = {**os.environ, "OMP_NUM_THREADS": str(setup.threads)}
    with (folder / "log").open("w") as log:

        def spawn(task: str) -> subprocess.Popen[str]:
            pipe = subprocess.PIPE
            whole = [*command, task, name, text]
            # Libraries leave caches where they stand: in the contender's own folder.
            return subprocess.Popen(
                whole, stdin=pipe, stdout=pipe, stderr=log, text=True, env=environment, cwd=folder
            )

        with spawn("prepare") as preparing:
            facts = ask(preparing)
        process = spawn("serve")
        try:
            yield Worker(process, {**facts, **ask(process)})
        finally:
            process.kill()
            process.communicate()


def ask(process: subprocess.Popen[str], what: str = "") -> dict[str, Any]:
    """Tell a process something and return its next line.

    Raises:
        PeerError: It says an error, or nothing any more.
    """
    assert process.stdin is not None and process.stdout is not None
    if what:
        process.stdin.write(f"{what}\n")
        process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise PeerError(f"ended with status {process.wait()}")
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        raise PeerError(said["error"])
    return said
