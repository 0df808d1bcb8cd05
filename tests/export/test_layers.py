import numpy as np
import torch
from torch import nn

from zsad.preprocess import resize_exact
from zsad_export.layers import LayerError, compare_layers, first_jump, trace_graph, trace_module
from zsad_export.reference import reference_input


def errors(*relative):
    return [LayerError(name, value) for name, value in zip("abcdef", relative, strict=False)]


def test_blame_goes_to_the_first_jump_not_to_the_worst_layer():
    found = first_jump(errors(1e-7, 1e-6, 0.3, 0.9), floor=1e-4)
    assert found.layer == "c"


def test_errors_that_creep_are_blamed_on_the_worst():
    found = first_jump(errors(1e-4, 3e-4, 1e-3, 4e-3, 2e-3), floor=1e-4)
    assert found.layer == "d"


def test_no_layers_no_blame():
    assert first_jump([], floor=1e-4) is None


def test_trace_keeps_every_call_of_a_module_in_order():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Linear(1, 1, bias=False)
            self.scale.weight.data.fill_(3.0)

        def forward(self, x):
            return self.scale(self.scale(x))

    traced = trace_module(nn.Sequential(Twice()), torch.ones(1, 1))
    assert {key: value.tolist() for key, value in traced.items()} == {
        ("0.scale", 0): [3.0],
        ("0.scale", 1): [9.0],
    }


def test_layers_are_matched_by_the_end_of_their_path():
    values = np.array([1.0, -2.0], dtype=np.float32)
    reference = {("backbone.vision.ln", 0): values, ("text.vision_ln", 0): values * 9}
    found = {("detector.vision.ln", 0): values * 1.1, ("detector.other", 0): values}
    (error,) = compare_layers(reference, found)
    assert error.layer == "detector.vision.ln"
    assert abs(error.relative - 0.1) < 1e-6


def test_a_nan_is_an_infinite_error():
    values = np.ones(2, dtype=np.float32)
    (error,) = compare_layers({("a.x", 0): values}, {("b.x", 0): values * np.nan})
    assert error.relative == np.inf


def test_every_layer_of_an_exported_graph_equals_the_method(artifact, build_dive, frames, spec):
    frame = frames[0].image_bgr
    expected = trace_module(build_dive(), reference_input(frame, spec))
    found = trace_graph(artifact.path / "model.fp32.onnx", resize_exact(frame, spec))
    compared = compare_layers(expected, found)
    layers = {error.layer for error in compared}
    assert {
        "detector.vision.conv1",
        "detector.vision.ln_pre",
        "detector.vision.blocks.0.attn.out_proj",
        "detector.vision.blocks.1.mlp.gelu",
        "detector.vision.blocks.2.mlp.c_proj",
        "detector.vision.ln_post",
        "detector.state_branch.0",
    } <= layers
    assert max(error.relative for error in compared) < 1e-5
