"""The parity gate: how far a graph may be from its reference, from camera frame to map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zsad.types import ArrayF32
from zsad_export.golden import GoldenOutputs
from zsad_export.graph_names import GraphPrecision

VARIES = 10.0
"""A reference map whose range is above this many allowed errors is held to a correlation too."""

ALWAYS_VARIES = 0.2
"""A map with this range is, however large the allowed errors are."""


@dataclass(frozen=True)
class ParityLimits:
    """What one precision is allowed.

    Attributes:
        score_max_abs: Largest allowed difference of the score.
        map_max_abs: Largest allowed difference of any pixel of the anomaly map.
        map_correlation: Smallest allowed Pearson correlation of a map that varies.
    """

    score_max_abs: float
    map_max_abs: float
    map_correlation: float


_INT8 = ParityLimits(score_max_abs=5e-2, map_max_abs=1.5e-1, map_correlation=0.99)
"""Above what honest rounding does to DIVE on `tiny` over 128 held-out images (benchmarks/int8.py),
far below what a wrong weight scale does. INT8 moves single pixels of steep maps: the map's limit is
for those, the correlation for the rest."""

LIMITS: Mapping[GraphPrecision, ParityLimits] = {
    "fp32": ParityLimits(score_max_abs=1e-4, map_max_abs=1e-4, map_correlation=0.999),
    "fp16": ParityLimits(score_max_abs=5e-3, map_max_abs=2e-2, map_correlation=0.999),
    "int8": _INT8,
    "int8_fp16": _INT8,
}


@dataclass(frozen=True)
class FrameParity:
    """The differences on one golden frame; `correlation` is None where the map hardly varies."""

    name: str
    score_abs: float
    map_max_abs: float
    map_mean_abs: float
    correlation: float | None

    def excess(self, limits: ParityLimits) -> float:
        """Return the largest difference as a multiple of its limit; above 1 is too far."""
        parts = [self.score_abs / limits.score_max_abs, self.map_max_abs / limits.map_max_abs]
        if self.correlation is not None:
            parts.append((1.0 - self.correlation) / (1.0 - limits.map_correlation))
        # A NaN compares as smaller than everything, and must not pass.
        return max(float("inf") if np.isnan(part) else part for part in parts)

    def describe(self) -> str:
        """Return the differences as text."""
        text = f"score off by {self.score_abs:.2g}, map by {self.map_max_abs:.2g}"
        if self.correlation is not None:
            text += f", map correlation {self.correlation:.5f}"
        return text


@dataclass(frozen=True)
class Parity:
    """The differences on all golden frames, held against their limits."""

    frames: tuple[FrameParity, ...]
    limits: ParityLimits

    @property
    def worst(self) -> FrameParity:
        """The frame furthest over, or nearest to, its limits."""
        return max(self.frames, key=lambda frame: frame.excess(self.limits))

    @property
    def passed(self) -> bool:
        """Whether every frame is within the limits."""
        return self.worst.excess(self.limits) <= 1.0

    @property
    def correlation(self) -> float | None:
        """The smallest correlation of a map that varies, None where none does."""
        known = [frame.correlation for frame in self.frames if frame.correlation is not None]
        return min(known) if known else None


def compare(
    names: Sequence[str],
    reference: GoldenOutputs,
    found: GoldenOutputs,
    limits: ParityLimits,
) -> Parity:
    """Hold what a graph gave against what the reference gave, frame by frame.

    Scores and maps of defect types count like the others.
    """
    rows = zip(
        names, _scores(reference), _scores(found), _maps(reference), _maps(found), strict=True
    )
    return Parity(tuple(_compare_frame(*row, limits) for row in rows), limits)


def _scores(outputs: GoldenOutputs) -> ArrayF32:
    """Return the scores (F, 1 + K) of a frame as a whole and of its types."""
    scores = outputs.scores[:, None]
    types = outputs.type_scores
    return scores if types is None else np.concatenate([scores, types], axis=1)


def _maps(outputs: GoldenOutputs) -> ArrayF32:
    """Return the maps (F, 1 + K, H, W) of anomaly and of its types."""
    maps = outputs.anomaly_maps[:, None]
    types = outputs.type_maps
    return maps if types is None else np.concatenate([maps, types], axis=1)


def _compare_frame(
    name: str,
    scores: ArrayF32,
    found_scores: ArrayF32,
    maps: ArrayF32,
    found_maps: ArrayF32,
    limits: ParityLimits,
) -> FrameParity:
    if maps.shape != found_maps.shape:
        raise ValueError(f"{len(maps)} maps {maps.shape[1:]} and {found_maps.shape[1:]}")
    anomaly_map, found_map = maps[0], found_maps[0]
    difference = np.abs(found_maps.astype(np.float64) - maps)
    varies = float(np.ptp(anomaly_map)) > min(VARIES * limits.map_max_abs, ALWAYS_VARIES)
    return FrameParity(
        name=name,
        score_abs=float(np.abs(found_scores.astype(np.float64) - scores).max()),
        map_max_abs=float(difference.max()),
        map_mean_abs=float(difference.mean()),
        correlation=_correlation(anomaly_map, found_map) if varies else None,
    )


def _correlation(a: ArrayF32, b: ArrayF32) -> float:
    """Return Pearson's correlation; a constant or broken `b` correlates with nothing: 0."""
    x = a.astype(np.float64) - a.mean(dtype=np.float64)
    y = b.astype(np.float64) - b.mean(dtype=np.float64)
    norm = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / norm if norm > 0 else 0.0
