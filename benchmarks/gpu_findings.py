"""Checks of a machine, each recorded however it ended, and what they come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zsad.errors import InputError, ParityError, ZsadError

SCHEMA = 1

Status = Literal["ok", "absent", "missing", "parity", "failed"]
"""`absent` is optional and not there, `missing` is not there and stops something."""

_EXIT_CODES: Mapping[Status, int] = {"ok": 0, "absent": 0, "missing": 2, "parity": 3, "failed": 4}


@dataclass(frozen=True)
class Finding:
    """One check.

    Attributes:
        name: What was checked.
        status: How it ended.
        detail: The reason, in one line, where it did not end well.
        figures: What was found, as plain JSON values.
        seconds: How long it took.
    """

    name: str
    status: Status
    detail: str
    figures: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class GpuReport:
    """One run of the check."""

    schema: int
    machine: Mapping[str, Any]
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 where all held, else the worst of 2 missing, 3 parity, 4 failed."""
        return max(_EXIT_CODES[finding.status] for finding in self.findings)


@dataclass
class Checks:
    """Findings as they come in; a check that fails does not stop those that do not need it."""

    findings: list[Finding] = field(default_factory=list)

    def run(
        self, name: str, check: Callable[[], Mapping[str, Any]], optional: bool = False
    ) -> bool:
        """Run a check, record how it ended, and return whether it held."""
        begin = time.perf_counter()
        status: Status = "ok"
        detail, figures = "", {}
        try:
            figures = dict(check())
        except (InputError, ImportError) as error:
            status, detail = "absent" if optional else "missing", str(error)
        except ParityError as error:
            status, detail = "parity", str(error)
        except ZsadError as error:
            status, detail = "failed", str(error)
        seconds = round(time.perf_counter() - begin, 3)
        self.findings.append(Finding(name, status, _one_line(detail), figures, seconds))
        return status == "ok"


def text(report: GpuReport) -> str:
    """Return the findings as lines for a terminal."""
    lines = []
    for found in report.findings:
        said = found.detail or ", ".join(f"{k} {_short(v)}" for k, v in found.figures.items())
        lines.append(f"{found.status:<8}{found.name:<28}{said}")
    return "\n".join(lines)


def _one_line(detail: str) -> str:
    # The JSON is sent to others, whom the owner's name does not concern.
    return " ".join(detail.split()).replace(str(Path.home()), "~")


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_short(item)}" for key, item in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)
