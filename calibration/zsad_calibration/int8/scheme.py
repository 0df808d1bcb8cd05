"""How each linear is quantized, chosen by what it does to that linear's own output.

Every way is weighed on a few rows of the calibration frames: the linear's output with INT8 inputs
and weight against its output without. No pass of the whole graph is spent on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsad.types import ArrayF32
from zsad_calibration.int8.observe import Activation
from zsad_calibration.int8.ranges import RULES, Rule
from zsad_calibration.int8.smoothing import smoothing_factors
from zsad_calibration.int8.weights import as_quantized, weight_as_quantized

ALPHAS = (0.25, 0.5, 0.75)
"""Shares of the difficulty that smoothing may move into the weight; none is always tried too."""

WORTH_SMOOTHING = 0.7
"""Smoothing is used where the error falls below this share of what it is without. Smaller gains did
the maps no good: on `tiny`, which has hardly any others, smoothing wherever it gained a tenth moved
them as far as none (benchmarks/int8.py)."""


@dataclass(frozen=True)
class Smoothing:
    """What a linear's input channels are divided by, (in,) float32, and the alpha it is from."""

    alpha: float
    factors: ArrayF32


@dataclass(frozen=True)
class Scheme:
    """How one linear is quantized.

    Attributes:
        layer: Its name.
        rule: The calibrator that gave the ranges.
        ranges: Per use of the linear, the magnitude that the last code stands for.
        error: Relative error of the output on the rows it was chosen by.
        smoothing: What is done to the input channels first, None if nothing.
    """

    layer: str
    rule: Rule
    ranges: tuple[float, ...]
    error: float
    smoothing: Smoothing | None = None


def choose_smoothing(
    activations: Sequence[Activation],
    weight: ArrayF32,
    alphas: Sequence[float] = ALPHAS,
    worth: float = WORTH_SMOOTHING,
) -> Smoothing | None:
    """Return the smoothing with the least error, None where it hardly helps.

    Args:
        activations: What the linear multiplies at each use, unsmoothed.
        weight: (in, out).
        alphas: What to try.
        worth: The share of the plain error that it must fall below.
    """
    plain = choose_ranges("", activations, weight).error
    channels = np.max([activation.channels for activation in activations], axis=0)
    tried = []
    for alpha in alphas:
        factors = smoothing_factors(channels, weight, alpha)
        moved = weight * factors[:, None]
        ranges = [float((a.channels / factors).max()) for a in activations]
        rows = [a.rows / factors for a in activations]
        tried.append((output_error(rows, ranges, moved), alpha, factors))
    error, alpha, factors = min(tried, key=lambda one: one[0])
    return Smoothing(alpha, factors) if error < worth * plain else None


def choose_ranges(
    layer: str,
    activations: Sequence[Activation],
    weight: ArrayF32,
    rule: Rule | None = None,
) -> Scheme:
    """Return the ranges of a linear by one rule, or by whichever errs least.

    Args:
        layer: Its name.
        activations: What it multiplies at each use, smoothed if it is.
        weight: (in, out), likewise.
        rule: The only rule to use.
    """
    rows = [activation.rows for activation in activations]
    schemes = []
    for name in RULES if rule is None else (rule,):
        ranges = tuple(RULES[name](activation.histogram) for activation in activations)
        schemes.append(Scheme(layer, name, ranges, output_error(rows, ranges, weight)))
    return min(schemes, key=lambda scheme: scheme.error)


def output_error(rows: Sequence[ArrayF32], ranges: Sequence[float], weight: ArrayF32) -> float:
    """Return the relative error, in the 2-norm, of a linear's output in INT8.

    Args:
        rows: Per use, (R, in).
        ranges: Per use, the magnitude of the last code.
        weight: (in, out).
    """
    coarse = weight_as_quantized(weight, out_axis=1)
    off = total = 0.0
    for values, largest in zip(rows, ranges, strict=True):
        exact = values @ weight
        off += float(np.square(as_quantized(values, largest) @ coarse - exact).sum())
        total += float(np.square(exact).sum())
    return float(np.sqrt(off / total)) if total else 0.0
