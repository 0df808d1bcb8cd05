import json
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from zsad.artifact import MANIFEST, Artifact
from zsad.inspection.config import WHOLE_FRAME
from zsad.recipe import SCHEMA, Bound, Calibration, Recipe


@pytest.fixture
def make_recipe():
    """Return `make(artifact_path, threshold, precision=None, score_kind="graph", ...)`."""

    def make(path, threshold, precision=None, score_kind="graph", inspection=WHOLE_FRAME, types=()):
        artifact = Artifact.open(path)
        calibration = Calibration(
            artifact.graph(precision).sha256,
            score_kind,
            threshold,
            Bound(0.05, 0.95, 59),
            (0.1,),
            types=types,
            inspection_sha256=inspection.sha256,
        )
        return Recipe(
            SCHEMA,
            artifact.manifest.preprocess.sha256,
            (calibration,),
            words_sha256=artifact.manifest.words_sha256 if types else None,
            roi=inspection.roi,
            tiles=inspection.tiles,
            frame_hw=inspection.frame_hw,
        )

    return make


@pytest.fixture
def grey_folder(tmp_path):
    """Return `make(name, levels, size_hw) -> path`: PNG images of one grey level each."""

    def make(name="images", levels=(0, 51, 102, 204), size_hw=(8, 12)):
        folder = tmp_path / name
        folder.mkdir()
        for level in levels:
            image = np.full((*size_hw, 3), level, np.uint8)
            cv2.imwrite(str(folder / f"grey{level:03d}.png"), image)
        return folder

    return make


@pytest.fixture
def edit_manifest():
    """Return a context manager over an artifact's manifest as JSON values; it writes them back."""

    @contextmanager
    def edit(path):
        file = path / MANIFEST
        data = json.loads(file.read_text())
        yield data
        file.write_text(json.dumps(data))

    return edit
