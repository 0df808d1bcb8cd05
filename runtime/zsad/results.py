"""One row per judged image, as JSON lines that any tool can read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO

from zsad.arithmetic import Arithmetic
from zsad.closeable import Closeable
from zsad.errors import InputError
from zsad.schema import from_json, parse_json, to_json

SCHEMA = 1

VerdictName = Literal["OK", "NG", "NO_RESULT", "UNCALIBRATED"]


@dataclass(frozen=True)
class ResultRow:
    """What is recorded of one image.

    Attributes:
        seq: Running number from 0, without gaps.
        source: The source as it was named, credentials masked.
        image: File name, or the frame's number in its stream.
        score: The score that was compared, in [0, 1]; None without a result.
        threshold: The recipe's threshold; None when uncalibrated or without a result.
        verdict: OK, NG, NO_RESULT or UNCALIBRATED.
        types: Score per defect type, where the method has types.
        defect: The defect type that it is, where the method has types and the verdict is not OK.
        defect_confidence: Its share of the sum of all types' scores, in (0, 1].
        latency_ms: Milliseconds per stage.
        artifact: Hash of the artifact's manifest.
        graph: Hash of the graph that ran.
        arithmetic: What the engine computed in, None where that is what the graph says.
        map: File name of the heat-map overlay, None if none was written.
        reason: Why there is no result; None where there is one.
    """

    seq: int
    source: str
    image: str
    score: float | None
    threshold: float | None
    verdict: VerdictName
    artifact: str
    graph: str
    types: Mapping[str, float] = field(default_factory=dict)
    defect: str | None = None
    defect_confidence: float | None = None
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    arithmetic: Arithmetic | None = None
    map: str | None = None
    reason: str | None = None
    schema: int = SCHEMA


def result_line(row: ResultRow) -> str:
    """Return a row as one line of JSON, without the line's end."""
    return json.dumps(to_json(row), allow_nan=False)


class ResultWriter(Closeable):
    """Appends rows to a `results.jsonl`; each row is flushed before the next frame is judged."""

    def __init__(self, path: str | Path) -> None:
        """Start a new file at `path`; an older one there is replaced.

        Raises:
            InputError: The file cannot be written.
        """
        self.path = Path(path)
        try:
            self._stream: TextIO | None = self.path.open("w", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}") from None

    def write(self, row: ResultRow) -> None:
        """Append one row.

        Raises:
            InputError: The disk is full or gone.
        """
        assert self._stream is not None, "the file is closed"
        try:
            self._stream.write(result_line(row) + "\n")
            self._stream.flush()
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}") from None

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def read_results(path: str | Path) -> Iterator[ResultRow]:
    """Yield the rows of a `results.jsonl`.

    Raises:
        InputError: The file is missing, or a line is not a row.
    """
    try:
        with Path(path).open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                yield _read_line(line, f"{path}:{number}")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from None


def _read_line(line: str, where: str) -> ResultRow:
    try:
        data = parse_json(line)
    except ValueError:
        raise InputError(f"{where} is not JSON: the line may have been cut off") from None
    return from_json(ResultRow, data, where)
