"""What `speedup.py` measures of one contender, the goals, and the table of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accuracy_table import markdown

GOALS = {"int8": 3.0, "bf16": 2.0, "fp32": 1.05}
"""Times as fast as eager, by what is multiplied."""

FRESH_TEXT_GOAL = 1.25
"""That of fp32 for a method whose text depends on the image, where eager has more to do."""

FRESH_TEXT = ("faprompt", "cops", "entroad", "mrad")


@dataclass(frozen=True)
class Subject:
    """A method on a backbone of random weights: its checkpoint and the artifact made of it."""

    method: str
    backbone: str
    ckpt: Path
    artifact: Path


@dataclass(frozen=True)
class Row:
    """One contender.

    Attributes:
        subject: Method and backbone.
        contender: Graph and engine, or eager.
        kind: What is multiplied: `fp32`, `bf16` or `int8`.
        ms: Median, from frame to score and map.
        cpu_ms: Median of the processor time of all threads, which neighbours do not change much.
        times_faster: Than eager, ratio of the medians.
        cpu_times_less: Processor time of eager over this one's.
        goal: Smallest ratio wanted; None for eager.
        share_of_roof: Its arithmetic over the time, over the best rate of one product here; None
            where no library measured that.
        loaded_mb: What opening and one run added to the memory of the process, in 1e6 bytes.
    """

    subject: str
    contender: str
    kind: str
    ms: float
    cpu_ms: float
    times_faster: float
    cpu_times_less: float
    goal: float | None
    share_of_roof: float | None
    loaded_mb: float


def goal(method: str, kind: str) -> float:
    """Return the smallest ratio that is wanted of a method where `kind` is multiplied."""
    return FRESH_TEXT_GOAL if kind == "fp32" and method in FRESH_TEXT else GOALS[kind]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = ["method, backbone", "what runs", "ms", "times as fast", "goal"]
    head += ["processor ms", "times less", "of the roof", "MB"]
    return markdown(head, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    wanted = "" if row.goal is None else f"{row.goal:.2f} {_mark(row)}"
    share = "-" if row.share_of_roof is None else f"{row.share_of_roof:.0%}"
    wall = [f"{row.ms:.1f}", f"{row.times_faster:.2f}", wanted]
    processor = [f"{row.cpu_ms:.1f}", f"{row.cpu_times_less:.2f}"]
    return [row.subject, row.contender, *wall, *processor, share, f"{row.loaded_mb:,.0f}"]


def _mark(row: Row) -> str:
    return "reached" if row.goal is not None and row.times_faster >= row.goal else "missed"
