"""The kinds of score, and how each is read from a graph's answer."""

from __future__ import annotations

from typing import Literal

import numpy as np

from zsad.types import ArrayBool, ArrayF32

ScoreKind = Literal["graph", "map_max", "map_top1pct"]


def score_of(
    kind: ScoreKind, graph_score: float, anomaly_map: ArrayF32, roi: ArrayBool | None = None
) -> float:
    """Return the image score of a kind.

    Args:
        kind: `graph` is the method's own score; `map_max` the map's maximum; `map_top1pct` the mean
            of its highest one percent of pixels, which one hot pixel cannot decide.
        graph_score: The graph's score, in [0, 1].
        anomaly_map: (H, W) float32 in [0, 1].
        roi: (H, W) bool, the pixels that count; None for all. It means nothing to `graph`.
    """
    if kind == "graph":
        return graph_score
    values = anomaly_map.ravel() if roi is None else anomaly_map[roi]
    if kind == "map_max":
        return float(values.max())
    count = max(1, values.size // 100)
    return float(np.partition(values, values.size - count)[-count:].mean(dtype=np.float64))


def type_scores_of(kind: ScoreKind, type_map: ArrayF32, roi: ArrayBool | None = None) -> ArrayF32:
    """Return the score of each type as `score_of` reads it from a map.

    Args:
        kind: A map kind.
        type_map: (K, H, W) float32 in [0, 1].
        roi: (H, W) bool, the pixels that count; None for all.

    Returns:
        (K,) float32.
    """
    return np.array([score_of(kind, np.nan, each, roi) for each in type_map], np.float32)
