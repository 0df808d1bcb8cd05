import numpy as np
import pytest
import torch
from torch import nn

from zsad.preprocess import PreprocessSpec
from zsad_export.graph import DeploymentGraph

SPEC = PreprocessSpec(2, 3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))


class Recorder(nn.Module):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen = None

    def forward(self, images):
        self.seen = images
        score = images.mean(dim=(1, 2, 3)) * self.weight
        return score, images[:, 0], score


@pytest.fixture
def image():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 2, 3, 3), dtype=np.uint8))


def test_detector_gets_normalised_rgb_from_bgr_bytes(image):
    recorder = Recorder()
    DeploymentGraph(recorder, SPEC, "fp32")(image)
    rgb = image.numpy()[..., ::-1].astype(np.float64) / 255
    expected = ((rgb - SPEC.mean) / SPEC.std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(recorder.seen.numpy(), expected, atol=2e-6)


def test_half_graph_starts_from_the_nearest_half_pixels(image):
    exact, half = Recorder(), Recorder()
    DeploymentGraph(exact, SPEC, "fp32")(image)
    DeploymentGraph(half, SPEC, "fp16")(image)
    assert half.seen.dtype == torch.float16
    torch.testing.assert_close(half.seen, exact.seen.half(), rtol=0, atol=0)


def test_half_graph_converts_the_detector_but_not_the_outputs(image):
    graph = DeploymentGraph(Recorder(), SPEC, "fp16")
    assert graph.detector.weight.dtype == torch.float16
    assert [output.dtype for output in graph(image)] == [torch.float32] * 3


def test_graph_is_in_eval_mode_and_needs_no_gradients():
    graph = DeploymentGraph(nn.Sequential(nn.Dropout(), nn.Linear(1, 1)), SPEC, "fp32")
    assert not any(module.training for module in graph.modules())
    assert not any(parameter.requires_grad for parameter in graph.parameters())
