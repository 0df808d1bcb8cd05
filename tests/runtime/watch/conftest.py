"""`made_engines` and `made_scenes` are shared by the tests of this folder, which are no package."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.detector import Detector
from zsad.golden import GoldenFrame, GoldenOutputs
from zsad.preprocess import resize_exact
from zsad.recipe import SCHEMA, Bound, Calibration, Recipe

sys.path.insert(0, str(Path(__file__).parent))

from made_engines import HW, SIZES, answer, edit_graph, texture


@pytest.fixture
def make_watched(make_artifact, reseal):
    """Return `make(weights=(1, 1, 1), change={precision: edit of its graph}, **write_artifact)`.

    The graphs tell the channels apart by `weights`, and three golden frames of textures say what
    they do.
    """
    from zsad_export.golden import write_golden

    def colour(weights):
        def change(model):
            mean = next(node for node in model.graph.node if node.op_type == "ReduceMean")
            index = list(model.graph.node).index(mean)
            product = onnx.helper.make_node("MatMul", ["levels", "weights"], ["grey"])
            model.graph.node.remove(mean)
            model.graph.node.insert(index, product)
            column = np.float32(weights) / np.float32(sum(weights))
            model.graph.initializer.append(numpy_helper.from_array(column, "weights"))

        return change

    def make(name="watched", weights=(1, 2, 5), change=None, **options):
        path = make_artifact(name, height=HW[0], width=HW[1], **options)
        for precision in options.get("precisions", ("fp32",)):
            edit_graph(path / f"model.{precision}.onnx", colour(weights))
        spec = Artifact.open(reseal(path) or path).manifest.preprocess
        frames = [GoldenFrame(f"t{i}", texture(i, hw)) for i, hw in enumerate(SIZES)]
        said = [answer(resize_exact(frame.image_bgr, spec), weights) for frame in frames]
        outputs = GoldenOutputs(np.float32([s for s, _ in said]), np.stack([m for _, m in said]))
        write_golden(path, frames, outputs)
        for precision, edit in (change or {}).items():
            edit_graph(path / f"model.{precision}.onnx", edit)
        reseal(path)
        return Artifact.open(path)

    return make


@pytest.fixture
def make_recipe():
    """Return `make(artifact, *precisions, threshold=0.4, kind="graph")`."""

    def make(artifact, *precisions, threshold=0.4, kind="graph"):
        calibrations = tuple(
            Calibration(artifact.graph(p).sha256, kind, threshold, Bound(0.05, 0.95, 59), (0.1,))
            for p in precisions
        )
        return Recipe(SCHEMA, artifact.manifest.preprocess.sha256, calibrations)

    return make


@pytest.fixture
def open_detector():
    """Return `open(artifact, recipe=None, precision="fp32", backend="cpu")`; closed at the end."""
    opened = []

    def make(artifact, recipe=None, precision="fp32", backend="cpu"):
        engine = open_backend(artifact, precision, backend, threads=1)
        opened.append(Detector(artifact, engine, recipe))
        return opened[-1]

    yield make
    for detector in opened:
        detector.close()
