"""Which linears INT8 hurts most: quantized one at a time, or block by block, against float."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from zsad.types import Array, ArrayF32, ImageU8
from zsad_calibration.int8.linears import Linear
from zsad_calibration.int8.qdq import write_int8
from zsad_calibration.int8.scheme import Scheme
from zsad_calibration.probing.runner import NO_CONSTANTS, GraphRunner

Unit = Literal["layer", "block"]

SWEEP_FRAMES = 4
"""Frames per unit: a sweep runs the graph once per unit and frame."""

LARGE = 100_000_000
"""Above so many quantized values units are blocks, or a ViT-L's sweep takes hours."""

_OUTPUTS = ("score", "anomaly_map")


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing one unit alone does to the outputs.

    Attributes:
        unit: A layer's or a block's name.
        layers: The linears in it.
        size: Values of their weights.
        score_abs: Largest difference of the score.
        map_max_abs: Largest difference of any pixel of the anomaly map.
        map_mean_abs: Mean difference of the anomaly map.
    """

    unit: str
    layers: tuple[str, ...]
    size: int
    score_abs: float
    map_max_abs: float
    map_mean_abs: float

    @property
    def error(self) -> float:
        """The larger of what score and map are off by; both are in [0, 1]."""
        return max(self.score_abs, self.map_max_abs)


def sweep(
    source: Path,
    linears: Sequence[Linear],
    schemes: Sequence[Scheme],
    images: Sequence[ImageU8],
    constants: Mapping[str, Array] = NO_CONSTANTS,
    unit: Unit | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> tuple[Sensitivity, ...]:
    """Quantize one unit at a time and return what that does, the worst first.

    Args:
        source: The float graph.
        linears: Its linears.
        schemes: How each is quantized.
        images: Frames to compare on, (H, W, 3) uint8 BGR at the graph's size.
        constants: What the graph takes beside images.
        unit: Layer by layer or block by block; None takes blocks where the model is large.
        progress: Is told each unit as it begins.
    """
    expected = run_outputs(source, images, constants)
    units = _units(linears, unit)
    found = []
    for index, (name, members) in enumerate(units.items(), 1):
        progress(f"quantizing {name} alone ({index} of {len(units)})")
        layers = tuple(linear.layer for linear in members)
        chosen = [scheme for scheme in schemes if scheme.layer in layers]
        with written_int8(source, chosen) as path:
            off = _differences(expected, run_outputs(path, images, constants))
        found.append(Sensitivity(name, layers, sum(linear.size for linear in members), *off))
    return tuple(sorted(found, key=lambda one: -one.error))


def keep_worst(
    ranked: Sequence[Sensitivity], holds: Callable[[frozenset[str]], bool]
) -> frozenset[str] | None:
    """Return the fewest of the worst layers that must stay in float, None if all is too few.

    Args:
        ranked: Units, the worst first.
        holds: Whether the graph is within its budget with these layers in float.
    """
    low, high = 0, len(ranked)
    if not holds(_layers(ranked)):
        return None
    while low < high:
        middle = (low + high) // 2
        if holds(_layers(ranked[:middle])):
            high = middle
        else:
            low = middle + 1
    return _layers(ranked[:high])


@contextmanager
def written_int8(source: Path, schemes: Sequence[Scheme]) -> Iterator[Path]:
    """Give a quantized copy of a graph beside it, removed with the block."""
    path = source.with_name(f".{source.name}.{os.getpid()}.trial")
    try:
        data = write_int8(source, path, schemes)
        yield path
        if data is not None:
            path.with_name(data).unlink()
    finally:
        path.unlink(missing_ok=True)


def run_outputs(
    path: Path, images: Sequence[ImageU8], constants: Mapping[str, Array] = NO_CONSTANTS
) -> dict[str, ArrayF32]:
    """Return scores (F,) and anomaly maps (F, H, W) of images, one at a time."""
    with GraphRunner(path, constants) as runner:
        found = [runner.run(image[None], _OUTPUTS) for image in images]
    joined = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return dict(zip(_OUTPUTS, joined, strict=True))


def _units(linears: Sequence[Linear], unit: Unit | None) -> dict[str, list[Linear]]:
    large = sum(linear.size for linear in linears) > LARGE
    by_block = unit == "block" or (unit is None and large)
    units: dict[str, list[Linear]] = {}
    for linear in linears:
        units.setdefault(linear.block if by_block else linear.layer, []).append(linear)
    return units


def _layers(units: Sequence[Sensitivity]) -> frozenset[str]:
    return frozenset(layer for unit in units for layer in unit.layers)


def _differences(
    expected: Mapping[str, ArrayF32], found: Mapping[str, ArrayF32]
) -> tuple[float, float, float]:
    score, anomaly_map = (
        np.abs(found[name].astype(np.float64) - expected[name]) for name in _OUTPUTS
    )
    return float(score.max()), float(anomaly_map.max()), float(anomaly_map.mean())
