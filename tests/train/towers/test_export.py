import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from zsad_train.towers import TextTower, VisionTower

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


class Text(nn.Module):
    """Sentences with a deep prompt, as a method that exports its text tower would encode them."""

    def __init__(self, tower):
        super().__init__()
        self.tower = tower
        self.deep = nn.Parameter(torch.randn(2, tower.width))

    def forward(self, token_ids):
        eot = self.tower.eot_positions(token_ids)
        return self.tower(self.tower.embed(token_ids), eot, (self.deep,))


def test_a_text_graph_takes_any_number_of_sentences_of_any_length(make_clip, tmp_path):
    torch.manual_seed(1)
    clip = make_clip(quick_gelu=False)
    graph = Text(TextTower(clip)).requires_grad_(False).eval()
    length, end = graph.tower.context_length, clip.vocab_size - 1

    def sentences(*lengths):
        ids = torch.zeros(len(lengths), length, dtype=torch.long)
        for row, count in zip(ids, lengths, strict=True):
            row[:count] = torch.randint(1, end, (count,))
            row[count] = end
        return ids

    program = torch.onnx.export(
        graph,
        (sentences(4, 5),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["token_ids"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
    )
    program.save(tmp_path / "text.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "text.onnx")
    for ids in (sentences(3), sentences(length - 1, 6, 3)):
        (found,) = session.run(None, {"token_ids": ids.numpy()})
        assert np.abs(found - graph(ids).numpy()).max() <= 1e-5
