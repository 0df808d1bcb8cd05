import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from zsad_train.towers import VisionTower

OPSET = 20


class Attend(nn.Module):
    """Cross-attention from patches to a fixed bank, the shape of DIVE's deep injection."""

    def __init__(self):
        super().__init__()
        self.attention = nn.Linear(32, 32, bias=False)
        self.register_buffer("bank", torch.randn(5, 32))

    def forward(self, patches):
        scores = self.attention(patches) @ self.bank.T
        return patches + 0.3 * scores.softmax(dim=-1) @ self.bank


class Graph(nn.Module):
    def __init__(self, visual):
        super().__init__()
        self.tower = VisionTower(visual)
        self.prompts = nn.Parameter(torch.randn(3, 32))
        self.inject = Attend()

    def forward(self, images):
        features = self.tower(
            images,
            prompts=self.prompts,
            taps=(1, -1),
            vv_from_block=1,
            injections={0: self.inject, -2: self.inject},
        )
        return features.image, *features.patches


@pytest.fixture(scope="module")
def exported(make_clip, tmp_path_factory):
    torch.manual_seed(0)
    graph = Graph(make_clip(quick_gelu=True).visual).requires_grad_(False).eval()
    program = torch.onnx.export(
        graph,
        (torch.randn(2, 3, 32, 32),),
        dynamo=True,
        opset_version=OPSET,
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        input_names=["images"],
        verbose=False,
    )
    path = tmp_path_factory.mktemp("export") / "tower.onnx"
    program.save(path)
    return graph, program.model_proto, path


def test_graph_with_every_switch_equals_pytorch_at_any_batch(exported):
    graph, _, path = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        images = torch.randn(batch, 3, 32, 32)
        actual = session.run(None, {"images": images.numpy()})
        for ours, theirs in zip(graph(images), actual, strict=True):
            np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_graph_holds_plain_products_and_whole_layer_norms(exported):
    _, proto, _ = exported
    operators = [node.op_type for node in proto.graph.node]
    assert "Einsum" not in operators
    assert operators.count("Shape") <= 1  # the batch, for the tokens that every image shares
    assert operators.count("Split") == 4  # one shared projection per block
    assert operators.count("Softmax") == 4 + 3 + 2  # ordinary, V-V and injected attention
    assert operators.count("LayerNormalization") == 1 + 2 * 4 + 3
    assert {o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")} == {OPSET}
