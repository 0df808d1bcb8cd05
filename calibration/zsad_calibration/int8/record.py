"""What an artifact keeps about its INT8: `int8.json`, and the same as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zsad.schema import from_json, read_json
from zsad_calibration.int8.linears import Linear
from zsad_calibration.int8.scheme import Scheme
from zsad_calibration.int8.sensitivity import Sensitivity

FILE = "int8.json"
SCHEMA = 1

_SHOWN = 10


@dataclass(frozen=True)
class LinearRecord:
    """How one linear is computed.

    Attributes:
        layer: Its name.
        int8: Whether it is in INT8; otherwise it stayed in floating point.
        size: Values of its weight.
        rule: The calibrator of its activations.
        ranges: Per use, the magnitude that the last code stands for.
        smoothing: The alpha of its smoothing, None without.
        error: Relative error of its output on the calibration rows.
    """

    layer: str
    int8: bool
    size: int
    rule: str
    ranges: tuple[float, ...]
    smoothing: float | None
    error: float


@dataclass(frozen=True)
class Int8Record:
    """How the INT8 graphs of an artifact were made.

    Attributes:
        schema: Version of this record.
        source: What the calibration frames are.
        frames: How many.
        linears: Every linear of the blocks, in graph order.
        sensitivity: What each does alone, the worst first; empty where that was not measured.
    """

    schema: int
    source: str
    frames: int
    linears: tuple[LinearRecord, ...]
    sensitivity: tuple[Sensitivity, ...] = ()

    @property
    def share(self) -> float:
        """The share of the linears' weights that is in INT8."""
        return _size(self.linears, True) / _size(self.linears)

    def describe(self) -> str:
        """Return one line."""
        kept = [linear.layer for linear in self.linears if not linear.int8]
        line = (
            f"{len(self.linears) - len(kept)} of {len(self.linears)} linears in INT8 "
            f"({self.share:.0%} of their weights), calibrated on {self.frames} {self.source}"
        )
        return f"{line}; in floating point: {', '.join(kept)}" if kept else line

    def table(self) -> list[str]:
        """Return the units that INT8 hurts most, a line each under a heading."""
        heading = f"{'in INT8 alone':<40}{'score off by':>14}{'map off by':>12}{'mean':>10}"
        rows = [
            f"{one.unit:<40}{one.score_abs:>14.1e}{one.map_max_abs:>12.1e}{one.map_mean_abs:>10.1e}"
            for one in self.sensitivity[:_SHOWN]
        ]
        return [heading, *rows] if rows else []


def make_record(
    linears: Sequence[Linear],
    schemes: Sequence[Scheme],
    kept: frozenset[str],
    source: str,
    frames: int,
    sensitivity: Sequence[Sensitivity] = (),
) -> Int8Record:
    """Return the record of schemes, of which those of the layers `kept` were not used."""
    rows = tuple(
        LinearRecord(
            layer=linear.layer,
            int8=linear.layer not in kept,
            size=linear.size,
            rule=scheme.rule,
            ranges=scheme.ranges,
            smoothing=None if scheme.smoothing is None else scheme.smoothing.alpha,
            error=scheme.error,
        )
        for linear, scheme in zip(linears, schemes, strict=True)
    )
    return Int8Record(SCHEMA, source, frames, rows, tuple(sensitivity))


def read_record(path: Path) -> Int8Record:
    """Read an `int8.json`.

    Raises:
        InputError: It is missing or no such record.
    """
    return from_json(Int8Record, read_json(path, "INT8 record"), str(path))


def _size(linears: Sequence[LinearRecord], int8: bool | None = None) -> int:
    return sum(linear.size for linear in linears if int8 is None or linear.int8 == int8)
