"""The frame that engines are compared on."""

from __future__ import annotations

import numpy as np

from zsad.artifact import Artifact
from zsad.text_table import constant_inputs
from zsad.types import Array


def noise_frame(artifact: Artifact) -> dict[str, Array]:
    """Return what one run of an artifact's graph takes: seeded noise, and the text if it is open.

    Noise, since a black frame makes some kernels faster than a real one does, and hides errors.
    """
    spec = artifact.manifest.preprocess
    shape = (1, spec.height, spec.width, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return {"image": image, **constant_inputs(artifact)}
