"""Whether an engine that rounds more than its graph asks for still computes that graph.

OpenVINO 2026.4.1 gives noise in bfloat16 for some convolutions on CPUs with AMX (24 channels,
kernel and stride 4, as in `tiny`), without a word. So the first time a graph opens in reduced
arithmetic it runs the artifact's golden frames beside its exact self, or noise where there are
none; what passed is remembered beside the compiled graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zsad.backends.frame import golden_feeds, noise_frame
from zsad.errors import InputError
from zsad.parity import correlation
from zsad.schema import write_atomic
from zsad.types import Array

if TYPE_CHECKING:
    from zsad.artifact import Artifact
    from zsad.backends.base import Backend

LIMIT = 0.1
"""Largest difference of the score, and mean difference of the map, that passes for rounding. It
guards against another result, not for accuracy: that is what calibrating anew is for."""

CORRELATION = 0.9
"""Smallest correlation of a map with the exact one. Some methods' maps span less than `LIMIT`."""

FLAT = 2**-9
"""A map whose standard deviation is below this, half a step of bfloat16 at 1, has nothing but
rounding to correlate."""

PASSED = "passed-2"
"""The name of the file that remembers; its number is that of the check and rises with it."""


@dataclass(frozen=True)
class _Distance:
    """How far one frame's answers are apart; the correlation is None where the exact map is flat.

    A NaN is none of `agrees`.
    """

    score: float
    map_mean: float
    correlation: float | None

    @property
    def agrees(self) -> bool:
        alike = self.correlation is None or self.correlation >= CORRELATION
        return self.score <= LIMIT and self.map_mean <= LIMIT and alike

    def __str__(self) -> str:
        said = f"score off by {self.score:.2g}, map by {self.map_mean:.2g} on average"
        return said if self.correlation is None else f"{said}, correlation {self.correlation:.2g}"


def check_reduced(
    artifact: Artifact, reduced: Backend, open_exact: Callable[[], Backend], passed: Path | None
) -> None:
    """Run a few frames on both, unless `passed` says that they agreed before.

    Args:
        artifact: What both have opened.
        reduced: The engine in question.
        open_exact: Opens the same graph in its own arithmetic.
        passed: A file that is written where they agree; its folder is there. None is to remember
            nothing.

    Raises:
        InputError: They differ by more than rounding does, or `passed` cannot be written.
        InferenceError: One of them failed.
    """
    if passed is not None and passed.exists():
        return
    feeds = [*golden_feeds(artifact)] or [noise_frame(artifact)]
    found = [reduced.infer(each) for each in feeds]
    with open_exact() as exact:
        expected = [exact.infer(each) for each in feeds]
    distances = [_distance(*pair) for pair in zip(found, expected, strict=True)]
    if wrong := [each for each in distances if not each.agrees]:
        raise InputError(
            f"{reduced.provider} computes something else than the graph here: {wrong[0]}:"
            " use --backend openvino"
        )
    if passed is not None:
        write_atomic(passed, "".join(f"{each}\n" for each in distances).encode())


def _distance(found: Mapping[str, Array], expected: Mapping[str, Array]) -> _Distance:
    score = float(np.abs(np.subtract(found["score"], expected["score"])).max())
    maps = [np.asarray(each["anomaly_map"], np.float64).ravel() for each in (found, expected)]
    mean = float(np.abs(maps[0] - maps[1]).mean())
    return _Distance(score, mean, _correlation(*maps))


def _correlation(found: Array, exact: Array) -> float | None:
    """Return the correlation of a found map with the exact one; None where the exact is flat."""
    return None if exact.std() < FLAT else correlation(found, exact)
