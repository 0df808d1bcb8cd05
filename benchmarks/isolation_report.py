"""What judging and committing took under each condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from accuracy_table import markdown


@dataclass
class Taken:
    """Milliseconds per frame under one condition, and how many commits were refused."""

    judged_ms: list[float] = field(default_factory=list)
    committed_ms: list[float] = field(default_factory=list)
    refused: int = 0


@dataclass(frozen=True)
class Found:
    """Percentiles of one condition.

    Attributes:
        condition: What failed.
        frames: How many were judged.
        judge_p50_ms: Median of judging a frame.
        judge_p99_ms: Its 99th percentile.
        commit_p50_ms: Median of committing its verdict, or of the refusal.
        commit_p99_ms: Its 99th percentile.
        refused: Commits that were refused.
    """

    condition: str
    frames: int
    judge_p50_ms: float
    judge_p99_ms: float
    commit_p50_ms: float
    commit_p99_ms: float
    refused: int


def findings(taken: Mapping[str, Taken]) -> list[Found]:
    """Return the percentiles of each condition."""
    import numpy as np

    def percentile(values: list[float], share: int) -> float:
        return round(float(np.percentile(values, share)), 2)

    return [
        Found(
            condition=name,
            frames=len(each.judged_ms),
            judge_p50_ms=percentile(each.judged_ms, 50),
            judge_p99_ms=percentile(each.judged_ms, 99),
            commit_p50_ms=percentile(each.committed_ms, 50),
            commit_p99_ms=percentile(each.committed_ms, 99),
            refused=each.refused,
        )
        for name, each in taken.items()
    ]


def table(rows: list[Found]) -> str:
    """Return the percentiles as a Markdown table."""
    heads = ["", "frames", "judge p50 ms", "judge p99 ms", "commit p50 ms", "commit p99 ms"]
    return markdown(
        [*heads, "refused"],
        [
            [
                row.condition,
                str(row.frames),
                f"{row.judge_p50_ms:.1f}",
                f"{row.judge_p99_ms:.1f}",
                f"{row.commit_p50_ms:.1f}",
                f"{row.commit_p99_ms:.1f}",
                str(row.refused),
            ]
            for row in rows
        ],
    )
