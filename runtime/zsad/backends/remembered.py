"""What `--backend auto` found out before: one small file per situation in the device cache.

Nothing else rests on these files. Whoever deletes one is measured anew at the next start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zsad.backends.threads import Threads
from zsad.device_cache import device_cache
from zsad.errors import InputError
from zsad.schema import from_json, read_json, sha256_of, write_json

SCHEMA = 3


@dataclass(frozen=True)
class Situation:
    """What a choice depends on; another value of any of it is another choice.

    Attributes:
        graphs: Hash of the graph that each candidate would run, by backend.
        versions: Of the engines, and of zsad, which sets their options.
        cpu: The processor's name.
        cores: Logical cores that the process may use.
        threads: Those that were asked for.
        engines: Hash of the file that a candidate would load, by backend, where `zsad-engine` built
            one: with an engine more, or another one, the choice is another.
    """

    graphs: Mapping[str, str]
    versions: Mapping[str, str]
    cpu: str
    cores: int
    threads: Threads
    engines: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """The backend that was the fastest.

    Attributes:
        backend: Its name.
        ms: Milliseconds per frame, of every candidate that ran, by backend.
        failed: Candidates that could not be opened or failed while they ran.
        wrong: Candidates that gave something else than `cpu`.
    """

    schema: int
    situation: Situation
    backend: str
    ms: Mapping[str, float]
    failed: tuple[str, ...]
    wrong: tuple[str, ...]

    def describe(self) -> str:
        """Return in a few words what was chosen and why."""
        times = {name: f"{ms:.3g} ms" for name, ms in self.ms.items()}
        others = [f"{name} {time}" for name, time in times.items() if name != self.backend]
        others += [f"{name} failed" for name in self.failed]
        others += [f"{name} wrong" for name in self.wrong]
        return f"{self.backend}, {times[self.backend]} a frame ({', '.join(others)})"


def recall(situation: Situation) -> Choice | None:
    """Return what was chosen in this situation before, if it was and its file is whole."""
    choice = _read(memory_file(situation))
    return choice if choice is not None and choice.situation == situation else None


def recall_all() -> list[tuple[Path, Choice]]:
    """Return every choice that this device remembers, with its file."""
    found = [(path, _read(path)) for path in sorted(_folder().glob("*.json"))]
    return [(path, choice) for path, choice in found if choice is not None]


def remember(choice: Choice) -> Path:
    """Write a choice, whole or not at all, and return its file.

    Raises:
        InputError: The cache cannot be written.
    """
    path = memory_file(choice.situation)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make {path.parent}: {error.strerror}: set ZSAD_CACHE to a folder"
        ) from None
    write_json(path, choice)
    return path


def memory_file(situation: Situation) -> Path:
    """Return the file of a situation, which need not exist."""
    return _folder() / f"{sha256_of(situation)[:24]}.json"


def _folder() -> Path:
    return device_cache() / "auto"


def _read(path: Path) -> Choice | None:
    try:
        choice = from_json(Choice, read_json(path, "remembered choice"), str(path))
    except InputError:  # missing, damaged or of another version: measured anew
        return None
    return choice if choice.schema == SCHEMA and choice.backend in choice.ms else None
