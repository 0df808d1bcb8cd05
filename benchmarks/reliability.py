"""The tables of docs/reliability.md, from the JSON that the fault runs left.

python benchmarks/reliability.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import isolation_report
from accuracy_table import markdown
from zsad.command import Command
from zsad.schema import from_json, read_json

RESULTS = Path(__file__).parent / "results"


def tables(results: Path = RESULTS) -> tuple[str, ...]:
    """Return the page's tables: camera faults, isolation, soak."""
    faults, isolated, soak = (
        read_json(results / f"{name}.json", name) for name in ("camera-faults", "isolation", "soak")
    )
    found = [from_json(isolation_report.Found, row, "isolation.json") for row in isolated["rows"]]
    return (
        camera_table(faults["faults"]),
        isolation_report.table(found),
        soak_table(soak["growths"]),
    )


def camera_table(faults: Sequence[Mapping[str, Any]]) -> str:
    """Return one row per fault of a camera, times in seconds."""
    return markdown(
        ["camera: fault", "cause that is told", "noticed", "cause told", "verdicts again"],
        [
            [
                fault["name"],
                fault["cause"] or "stays live",
                *(_seconds(fault[key]) for key in ("detect_s", "cause_s", "recover_s")),
            ]
            for fault in faults
        ],
    )


def soak_table(growths: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one row per resource that may not grow."""
    return markdown(
        ["", "growth an hour", "95 % interval", "limit", "judgement"],
        [
            [
                name,
                f"{growth['per_h']:.1f}",
                f"{growth['low']:.1f} to {growth['high']:.1f}",
                f"{growth['limit_per_h']:g}",
                growth["judgement"],
            ]
            for name, growth in growths.items()
        ],
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


@click.command(cls=Command)
def main() -> None:
    """Print the tables of docs/reliability.md."""
    click.echo("\n\n".join(tables()))


if __name__ == "__main__":
    main()
