"""Two latency reports side by side, with the noise that their ratio carries.

Two runs on one machine still differ by more than each one's spread says: other work, heat, another
build of a library. So a ratio is called a difference only where the quartiles of the two runs lie
apart, and even then it is one pair of runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latency_report import Report, read_report
from latency_text import table
from timing import Latency
from zsad.errors import InputError

MACHINE_KEYS = ("cpu", "cores", "gpu", "board", "system")
"""What must be the same for milliseconds to compare; packages may differ, they are often why one
compares."""

FLAGS = ("batch", "runs", "warm_up", "threads", "frame_hw", "pause_s")


@dataclass(frozen=True)
class Change:
    """One contender in two reports.

    Attributes:
        ratio: Median of the new over that of the old; below 1 is faster.
        low, high: The ratio between the quartiles that lie nearest and farthest, None where a
            report has no quartiles.
    """

    name: str
    old_ms: float
    new_ms: float
    ratio: float
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """Return, in words, whether the quartiles lie apart."""
        if self.low is None or self.high is None:
            return "no spread in the old file"
        if self.low > 1:
            return "slower"
        return "faster" if self.high < 1 else "within the noise"


def compare_files(old: Path, new: Path, *, anyway: bool = False) -> str:
    """Return the table of two reports.

    Raises:
        InputError: A file is no report, they share no contender, or they were measured on
            different machines or with different flags and `anyway` is not given.
    """
    before, after = read_report(old), read_report(new)
    unlike = differences(before, after)
    if unlike and not anyway:
        raise InputError(
            f"{old} and {new} do not compare, they differ in {'; '.join(unlike)}: measure both "
            "alike, or add --anyway"
        )
    changes = compare(before, after)
    if not changes:
        raise InputError(f"{old} and {new} share no contender: {_names(before)}; {_names(after)}")
    return "\n".join([*(f"NOTE: they differ in {each}" for each in unlike), *_lines(changes)])


def differences(old: Report, new: Report) -> list[str]:
    """Return what makes two reports incomparable, as text."""
    pairs = [(key, old.machine.get(key), new.machine.get(key)) for key in MACHINE_KEYS]
    pairs += [("Jetson's setting", _setting(old), _setting(new))]
    flags = [asdict(report.protocol) for report in (old, new)]
    pairs += [(key.replace("_", " "), *(flag[key] for flag in flags)) for key in FLAGS]
    pairs += [("input", old.subject.get("input"), new.subject.get("input"))]
    return [f"{key} ({before}, {after})" for key, before, after in pairs if before != after]


def compare(old: Report, new: Report) -> list[Change]:
    """Return the contenders that both reports have."""
    before = {latency.name: latency for latency in old.latencies}
    return [
        _change(before[latency.name], latency)
        for latency in new.latencies
        if latency.name in before
    ]


def _change(old: Latency, new: Latency) -> Change:
    was, now = old.total_ms, new.total_ms
    has_spread = all(key in each for key in ("p25", "p75") for each in (was, now))
    return Change(
        name=new.name,
        old_ms=was["p50"],
        new_ms=now["p50"],
        ratio=now["p50"] / was["p50"],
        low=now["p25"] / was["p75"] if has_spread else None,
        high=now["p75"] / was["p25"] if has_spread else None,
    )


def _setting(report: Report) -> Mapping[str, Any] | None:
    state = report.machine.get("jetson")
    return None if state is None else {key: state[key] for key in ("power_mode", "pinned")}


def _lines(changes: list[Change]) -> list[str]:
    rows = [["median, ms", "old", "new", "new/old", "quartiles", ""]]
    for change in changes:
        spread = "-" if change.low is None else f"{change.low:.2f} to {change.high:.2f}"
        figures = [f"{change.old_ms:.1f}", f"{change.new_ms:.1f}", f"{change.ratio:.3f}", spread]
        rows.append([change.name, *figures, change.verdict])
    note = (
        "Below 1 is faster. The spread is from one run's lower to the other's upper quartile; two "
        "runs on two days can differ by more."
    )
    return [*table(rows), note]


def _names(report: Report) -> str:
    return ", ".join(latency.name for latency in report.latencies)
