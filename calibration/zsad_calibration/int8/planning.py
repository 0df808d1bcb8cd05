"""From a float32 graph and calibration frames to a scheme for every linear."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from onnx import numpy_helper

from zsad.errors import InputError
from zsad.types import Array, ArrayF32, ImageU8
from zsad_calibration.int8.linears import Linear, find_linears
from zsad_calibration.int8.observe import Activation, observe
from zsad_calibration.int8.ranges import Rule
from zsad_calibration.int8.scheme import (
    ALPHAS,
    WORTH_SMOOTHING,
    Scheme,
    Smoothing,
    choose_ranges,
    choose_smoothing,
)
from zsad_calibration.int8.smoothing import smooth, smoothable
from zsad_calibration.int8.store import save_model
from zsad_calibration.int8.weights import inputs_first
from zsad_calibration.probing.runner import NO_CONSTANTS

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What planning may do.

    Attributes:
        rule: The calibrator of every activation; None takes per linear the one that errs least.
        alphas: Smoothing to try; empty for none.
        worth: Share of a linear's error that smoothing must bring it below to be used.
    """

    rule: Rule | None = None
    alphas: tuple[float, ...] = ALPHAS
    worth: float = WORTH_SMOOTHING


def plan_int8(
    path: Path,
    images: Sequence[ImageU8],
    constants: Mapping[str, Array] = NO_CONSTANTS,
    settings: Settings | None = None,
    progress: Progress = lambda step: None,
) -> tuple[Scheme, ...]:
    """Return a scheme for every linear of the graph at `path`, in graph order.

    Args:
        path: A float32 graph; it is not changed.
        images: Calibration frames, (H, W, 3) uint8 BGR at the graph's size; at least one.
        constants: What the graph takes beside images.
        settings: What may be done.
        progress: Is told each step as it begins.

    Raises:
        InputError: The graph has no linear in a transformer block.
    """
    settings = settings or Settings()
    linears = find_linears(onnx.load(str(path), load_external_data=False).graph)
    if not linears:
        raise InputError(f"{path.name} has no linear in a transformer block: INT8 is not for it")
    progress(f"observing {len(linears)} linears on {len(images)} calibration frames")
    seen = observe(path, _tensors(linears), images, constants)
    smoothing = _choose_smoothing(path, linears, seen, settings)
    if smoothing:
        progress(f"smoothing {len(smoothing)} linears and observing those again")
        with _smoothed(path, linears, smoothing) as copy:
            changed = [linear for linear in linears if linear.layer in smoothing]
            seen |= observe(copy, _tensors(changed), images, constants)
    return _choose_ranges(path, linears, seen, smoothing, settings)


def _tensors(linears: Sequence[Linear]) -> list[str]:
    return list(dict.fromkeys(call.tensor for linear in linears for call in linear.calls))


def _choose_smoothing(
    path: Path,
    linears: Sequence[Linear],
    seen: Mapping[str, Activation],
    settings: Settings,
) -> dict[str, Smoothing]:
    if not settings.alphas:
        return {}
    graph = onnx.load(str(path)).graph
    found = {}
    for linear, weight in _weights(graph, linears):
        if not smoothable(graph, linear):
            continue
        seen_here = _activations(linear, seen)
        chosen = choose_smoothing(seen_here, weight, settings.alphas, settings.worth)
        if chosen is not None:
            found[linear.layer] = chosen
    return found


def _choose_ranges(
    path: Path,
    linears: Sequence[Linear],
    seen: Mapping[str, Activation],
    smoothing: Mapping[str, Smoothing],
    settings: Settings,
) -> tuple[Scheme, ...]:
    schemes = []
    for linear, weight in _weights(onnx.load(str(path)).graph, linears):
        chosen = smoothing.get(linear.layer)
        moved = weight if chosen is None else weight * chosen.factors[:, None]
        ranges = choose_ranges(linear.layer, _activations(linear, seen), moved, settings.rule)
        schemes.append(replace(ranges, smoothing=chosen))
    return tuple(schemes)


def _weights(
    graph: onnx.GraphProto, linears: Sequence[Linear]
) -> Iterator[tuple[Linear, ArrayF32]]:
    """Yield each linear with its weight as (in, out) float32, one at a time."""
    stored = {w.name: w for w in graph.initializer}
    for linear in linears:
        weight = numpy_helper.to_array(stored[linear.weight])
        yield linear, inputs_first(weight, linear.out_axis)


def _activations(linear: Linear, seen: Mapping[str, Activation]) -> list[Activation]:
    return [seen[call.tensor] for call in linear.calls]


@contextmanager
def _smoothed(
    path: Path, linears: Sequence[Linear], smoothing: Mapping[str, Smoothing]
) -> Iterator[Path]:
    """Give a smoothed copy of the graph beside it, removed with the block."""
    copy = path.with_name(f".{path.name}.{os.getpid()}.smoothed")
    model = onnx.load(str(path))
    factors = {layer: chosen.factors for layer, chosen in smoothing.items()}
    smooth(model.graph, {linear.layer: linear for linear in linears}, factors)
    try:
        data = save_model(model, copy)
        del model
        yield copy
        if data is not None:
            copy.with_name(data).unlink()
    finally:
        copy.unlink(missing_ok=True)
