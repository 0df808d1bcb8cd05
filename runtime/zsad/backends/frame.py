"""The frames that engines are compared on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from zsad.artifact import Artifact
from zsad.images import read_image
from zsad.preprocess import resize_exact
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


def golden_feeds(artifact: Artifact) -> Iterator[dict[str, Array]]:
    """Yield what a run of an artifact's graph takes for each golden frame, one frame a run.

    Maps of noise span little, those of these scenes what the model tells apart. They come with the
    text as it is now, so they serve to compare engines, not to compare with the reference.

    Yields:
        One entry per frame in the order of their names, as it is read; none where the artifact has
        no golden frames.

    Raises:
        InputError: A frame cannot be read.
    """
    names = (PurePosixPath(name) for name in sorted(artifact.manifest.files))
    frames = [n for n in names if n.parent == PurePosixPath("golden") and n.suffix == ".png"]
    spec, constants = artifact.manifest.preprocess, constant_inputs(artifact)
    for name in frames:
        image = resize_exact(read_image(artifact.file(str(name))), spec)
        yield {"image": image[None], **constants}
