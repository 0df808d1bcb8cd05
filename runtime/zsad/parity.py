"""The parity gate: how far a graph may be from its reference, from camera frame to map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zsad.golden import GoldenOutputs
from zsad.metrics.agreement import kendall_tau, verdict_flips
from zsad.parity_record import ParityRecord
from zsad.types import Array, ArrayF32

VARIES = 10.0
"""A reference map whose range is above this many allowed errors is held to a correlation too, where
the limits do not say it otherwise."""


@dataclass(frozen=True)
class ParityLimits:
    """What one precision is allowed.

    Attributes:
        score_max_abs: Largest allowed difference of the score.
        map_max_abs: Largest allowed difference of any pixel of the anomaly map.
        map_correlation: Smallest allowed Pearson correlation of a map that varies.
        map_varies: Range of the reference map from which it does; None is `VARIES` allowed errors.
    """

    score_max_abs: float
    map_max_abs: float
    map_correlation: float
    map_varies: float | None = None

    @property
    def varies_above(self) -> float:
        """Range of the reference map above which its correlation counts."""
        return VARIES * self.map_max_abs if self.map_varies is None else self.map_varies


_INT8 = ParityLimits(score_max_abs=5e-2, map_max_abs=1.5e-1, map_correlation=0.99, map_varies=0.2)
"""Above what honest rounding does to DIVE on `tiny` over 128 held-out images (benchmarks/int8.py),
far below what a wrong weight scale does. INT8 moves single pixels of steep maps: the map's limit is
for those, the correlation for the rest."""

LIMITS: Mapping[str, ParityLimits] = {
    "fp32": ParityLimits(score_max_abs=1e-4, map_max_abs=1e-4, map_correlation=0.999),
    # A map of little contrast may be wrong altogether and within 2e-2. Rounding leaves it alone:
    # all methods, trained and random, correlate to 2e-5 where the range is 7e-3 or more; CoPS on
    # one random tower of twelve to 1.3e-3, which is refused: it stretches distances that are nearly
    # one to [0, 1], and their rounding with them.
    "fp16": ParityLimits(
        score_max_abs=5e-3, map_max_abs=2e-2, map_correlation=0.999, map_varies=5e-3
    ),
    "int8": _INT8,
    "int8_fp16": _INT8,
}

AUROC_BUDGETS: Mapping[str, float] = {
    "fp32": 0.001,
    "fp16": 0.001,
    "int8": 0.005,
    "int8_fp16": 0.005,
}
"""What a precision may cost of image and pixel AUROC, up or down, where labelled images show it."""


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
    """The differences on all frames, held against their limits.

    Attributes:
        frames: The differences.
        limits: What is allowed.
        scores: What the graph gave, (F,).
    """

    frames: tuple[FrameParity, ...]
    limits: ParityLimits
    scores: ArrayF32

    @property
    def worst(self) -> FrameParity:
        """The frame furthest over, or nearest to, its limits."""
        return max(self.frames, key=lambda frame: frame.excess(self.limits))

    @property
    def passed(self) -> bool:
        """Whether every frame is within the limits."""
        return self.worst.excess(self.limits) <= 1.0

    @property
    def score_max_abs(self) -> float:
        """The largest difference of a score; a NaN stays one."""
        return float(np.max([frame.score_abs for frame in self.frames]))

    @property
    def score_mean_abs(self) -> float:
        """The mean over frames of the difference of the score, types' scores at their largest."""
        return float(np.mean([frame.score_abs for frame in self.frames]))

    @property
    def map_max_abs(self) -> float:
        """The largest difference of a map's pixel; a NaN stays one."""
        return float(np.max([frame.map_max_abs for frame in self.frames]))

    @property
    def map_mean_abs(self) -> float:
        """The mean difference of the maps' pixels."""
        return float(np.mean([frame.map_mean_abs for frame in self.frames]))

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
    frames = tuple(_compare_frame(*row, limits) for row in rows)
    return Parity(frames, limits, found.scores)


def parity_record(
    parity: Parity, reference: GoldenOutputs, backend: str, evidence: str
) -> ParityRecord:
    """Return differences on golden frames as a manifest keeps them.

    Args:
        parity: What `compare` found.
        reference: What it was found against.
        backend: What ran the graph, with its version.
        evidence: What stands behind the figures.
    """
    decided = bool(np.isfinite(parity.scores).all())
    return ParityRecord(
        frames=len(parity.frames),
        backend=backend,
        score_max_abs=parity.score_max_abs,
        map_max_abs=parity.map_max_abs,
        map_mean_abs=parity.map_mean_abs,
        map_correlation=parity.correlation,
        largest_magnitude=None,
        evidence=evidence,
        score_mean_abs=parity.score_mean_abs,
        worst_frame=parity.worst.name,
        kendall_tau=kendall_tau(reference.scores, parity.scores) if decided else None,
        most_flips=verdict_flips(reference.scores, parity.scores).most if decided else None,
    )


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
    varies = float(np.ptp(anomaly_map)) > limits.varies_above
    return FrameParity(
        name=name,
        score_abs=float(np.abs(found_scores.astype(np.float64) - scores).max()),
        map_max_abs=float(difference.max()),
        map_mean_abs=float(difference.mean()),
        correlation=correlation(anomaly_map, found_map) if varies else None,
    )


def correlation(a: Array, b: Array) -> float:
    """Return Pearson's correlation; a constant or broken `b` correlates with nothing: 0."""
    x = a.astype(np.float64) - a.mean(dtype=np.float64)
    y = b.astype(np.float64) - b.mean(dtype=np.float64)
    norm = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / norm if norm > 0 else 0.0
