"""Whether an engine that rounds more than its graph asks for still computes that graph.

OpenVINO 2026.4.1 gives noise in bfloat16 for some convolutions on CPUs with AMX (24 channels,
kernel and stride 4, as in `tiny`), without a word. So the first time a graph opens in reduced
arithmetic it runs one frame beside its exact self; what passed is remembered beside the compiled
graph.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zsad.backends.frame import noise_frame
from zsad.errors import InputError
from zsad.schema import write_atomic

if TYPE_CHECKING:
    from zsad.artifact import Artifact
    from zsad.backends.base import Backend

LIMIT = 0.1
"""Largest difference of the score, and mean difference of the map, that passes for rounding. It
guards against another result, not for accuracy: that is what calibrating anew is for."""


def check_reduced(
    artifact: Artifact, reduced: Backend, open_exact: Callable[[], Backend], passed: Path
) -> None:
    """Run one frame on both, unless `passed` says that they agreed before.

    Args:
        artifact: What both have opened.
        reduced: The engine in question.
        open_exact: Opens the same graph in its own arithmetic.
        passed: A file that is written where they agree; its folder is there.

    Raises:
        InputError: They differ by more than rounding does, or `passed` cannot be written.
        InferenceError: One of them failed.
    """
    if passed.exists():
        return
    feeds = noise_frame(artifact)
    found = reduced.infer(feeds)
    with open_exact() as exact:
        expected = exact.infer(feeds)
    score = float(np.abs(np.subtract(found["score"], expected["score"])).max())
    mean = float(np.abs(np.subtract(found["anomaly_map"], expected["anomaly_map"])).mean())
    if not (score <= LIMIT and mean <= LIMIT):  # so that NaN is refused
        raise InputError(
            f"{reduced.provider} computes something else than the graph here: score off by"
            f" {score:.2g}, map by {mean:.2g} on average: use --backend openvino"
        )
    write_atomic(passed, f"score off by {score:.2g}, map by {mean:.2g} on average\n".encode())
