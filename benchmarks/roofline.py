"""How fast this machine multiplies matrices at best, in the shapes and number type of a model."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import roof_products
from roof_products import NumberType
from zsad.plan.products import Product

Sides = tuple[int, int, int]
"""Rows, inner, columns."""

SECONDS_PER_SHAPE = 0.3
MOST_SHAPES = 4

FALLBACK: tuple[Sides, ...] = ((1024, 1024, 1024),)
"""For a graph that holds no product with weights."""


@dataclass(frozen=True)
class Roof:
    """The best rate met, in 10^9 operations (a multiply-add is two) per second.

    Attributes:
        by: The library and shape that met it.
        tried: The best rate of each library and shape.
        number: What was multiplied.
    """

    gflop_per_s: float
    by: str
    tried: Mapping[str, float]
    number: NumberType = "float32"


def number_type(precision: str, provider: str, *, on_gpu: bool) -> NumberType:
    """Return what a graph of `precision` is computed in.

    CPUs run FP16 graphs in float32; one that computes in bfloat16 says so in its provider's name.
    """
    if precision.startswith("int8"):
        return "int8"
    if on_gpu:
        return "float16" if precision == "fp16" else "float32"
    return "bfloat16" if "bf16" in provider.lower() else "float32"


def main_shapes(products: Sequence[Product]) -> tuple[Sides, ...]:
    """Return the shapes of the layers that hold most of a model's arithmetic, largest share first.

    Products without weights, as inside attention, are not among them: each is many small ones.
    """
    shares: Counter[Sides] = Counter()
    for product in products:
        if product.constant and product.times == 1:
            shares[product.rows, product.inner, product.columns] += product.flop
    return tuple(shape for shape, _ in shares.most_common(MOST_SHAPES)) or FALLBACK


def measure_roof(
    number: NumberType, shapes: Sequence[Sides], *, on_gpu: bool, threads: int | None
) -> Roof | None:
    """Multiply matrices with everything installed; return the best rate, None without any.

    Args:
        number: What is multiplied.
        shapes: Rows, inner, columns of each product.
        on_gpu: Measure the first CUDA device, through torch, rather than the CPU.
        threads: Threads of the CPU; None leaves them to each library.
    """
    makers = roof_products.makers(number, on_gpu=on_gpu, threads=threads)
    tried = {}
    for library, make in makers.items():
        for sides in shapes:
            product, times = make(*sides)
            tried[f"{library} {'x'.join(map(str, sides))}"] = times * rate(product, *sides)
    if not tried:
        return None
    best = max(tried, key=lambda name: tried[name])
    return Roof(tried[best], best, tried, number)


def rate(product: Callable[[], object], rows: int, inner: int, columns: int) -> float:
    """Return the best GFLOP/s of a product of (rows, inner) and (inner, columns)."""
    product()
    best, deadline = math.inf, time.perf_counter() + SECONDS_PER_SHAPE
    while time.perf_counter() < deadline:
        start = time.perf_counter()
        product()
        best = min(best, time.perf_counter() - start)
    return 2 * rows * inner * columns / best / 1e9
