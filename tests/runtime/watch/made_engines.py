"""Frames, graphs and answers that are known by hand, for the tests of this folder."""

import numpy as np
import onnx
from onnx import numpy_helper

HW = (8, 12)
SIZES = ((16, 24), (8, 12), (31, 17))


def texture(seed, hw):
    """A coloured frame whose grey levels stay far from both ends."""
    rng = np.random.default_rng(seed)
    return rng.integers(20, 200, (*hw, 3), dtype=np.uint8)


def answer(image_bgr, weights=(1, 1, 1)):
    """What the known graph says by hand: the weighted mean of the channels of each pixel."""
    weights = np.float32(weights) / np.float32(sum(weights))
    grey = (image_bgr.astype(np.float32) @ weights) / 255
    return grey.mean(dtype=np.float32), grey


def edit_graph(path, change):
    """Change a graph file and everything that vouches for it, as a wrong export would."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def scale_by(factor):
    def change(model):
        weight = next(w for w in model.graph.initializer if w.name == "scale")
        found = numpy_helper.to_array(weight)
        weight.CopyFrom(numpy_helper.from_array(np.float32(found * factor), "scale"))

    return change
