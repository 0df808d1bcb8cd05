"""CoPS's text in the graph: how much of it is left, and what it is a constant of."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

from zsad.artifact import Artifact
from zsad.golden import read_golden
from zsad_export.cli.export import main as export_command
from zsad_export.golden import golden_frames
from zsad_export.reference import run_reference
from zsad_train.batches import preprocess_spec
from zsad_train.checkpoint import save_checkpoint
from zsad_train.methods.base import TrainingWords
from zsad_train.methods.cops import Cops
from zsad_train.methods.cops_config import PRESETS
from zsad_train.towers import load_backbone

RELEASED_TOKENS = 2 * 10 * 77
"""Text tokens per image of the released code: two states, ten samples, uncut."""

TOKENS = 2 * (6 + 10 * 4)
"""What is left: 6 state tokens, then 2 of class, full stop and end for every sample."""


@pytest.fixture(scope="module")
def method(small_clip):
    # The method stretches distances to [0, 1]; where a random tower's patches lie at nearly one
    # distance, as seed 3's do, half precision is a matter of the machine's rounding.
    backbone = load_backbone("zsad-test-export", pretrained="random:4")
    torch.manual_seed(0)
    made = Cops(backbone, PRESETS["cops-released"], TrainingWords(("metal plate",)))
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made


@pytest.fixture(scope="module")
def artifact(method, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cops")
    save_checkpoint(folder / "cops.pt", method, {})
    arguments = ["--ckpt", str(folder / "cops.pt"), "--fp16", "--no-engine"]
    result = CliRunner().invoke(export_command, arguments)
    assert result.exit_code == 0, result.output
    return Artifact.open(folder / "cops")


def text_tokens(path):
    """Return the tokens that one image sends through each weight of the text blocks, its size."""
    model = onnx.load(path)
    weights = {weight.name: math.prod(weight.dims) for weight in model.graph.initializer}
    constants = (".key", ".value", ".constant")
    used = {
        node.output[0]: [
            weights[name] for name in node.input if name in weights and not name.endswith(constants)
        ]
        for node in model.graph.node
        if node.name.startswith("detector.prompts.tail.blocks.")
        and node.op_type in ("MatMul", "Gemm")
    }
    used = {output: sizes[0] for output, sizes in used.items() if sizes}
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in used)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs = session.run(None, {"image": np.zeros((1, 32, 32, 3), np.uint8)})
    return [(out[..., 0].size, size) for out, size in zip(outputs, used.values(), strict=True)]


def test_the_graph_computes_at_most_6_percent_of_the_released_codes_text(artifact, method):
    found = text_tokens(artifact.path / "model.fp32.onnx")
    # Two blocks: 92 tokens, of which the last block needs keys and values, then 20 ends.
    assert max(tokens for tokens, _ in found) == TOKENS == 92
    work = sum(tokens * size for tokens, size in found)
    blocks = method.backbone.text.blocks
    matrices = sum(p.numel() for p in blocks.parameters() if p.dim() == 2)
    assert sum(size for _, size in found) == matrices  # nothing of the blocks was overlooked
    assert TOKENS / RELEASED_TOKENS < 0.06
    assert work / (RELEASED_TOKENS * matrices) < TOKENS / RELEASED_TOKENS


def test_the_graph_holds_no_autoencoder_and_each_text_block_once(artifact, method):
    graph = onnx.load(artifact.path / "model.fp32.onnx").graph
    sizes = {weight.name: math.prod(weight.dims) for weight in graph.initializer}
    assert not any("classes" in name for name in sizes)
    shape = (24, 96)  # of a text block's first layer, or transposed
    wide = [w for w in graph.initializer if tuple(w.dims) in (shape, shape[::-1])]
    assert len(wide) == 2 * method.backbone.text.depth


def test_the_seed_of_the_latents_is_recorded_and_an_export_repeats(artifact, method, tmp_path):
    assert artifact.manifest.method.options["latent_seed"] == 0
    save_checkpoint(tmp_path / "again.pt", method, {})
    torch.manual_seed(1)
    arguments = ["--ckpt", str(tmp_path / "again.pt"), "--no-engine"]
    assert CliRunner().invoke(export_command, arguments).exit_code == 0
    first, second = (
        path / "model.fp32.onnx" for path in (artifact.path, Artifact.open(tmp_path / "again").path)
    )
    assert first.read_bytes() == second.read_bytes()


def test_the_reference_is_the_method_itself(artifact, method):
    _, golden = read_golden(artifact)
    found = run_reference(method, golden_frames(), preprocess_spec(method.backbone.info))
    np.testing.assert_allclose(golden.scores, found.scores, atol=1e-6)
    np.testing.assert_allclose(golden.anomaly_maps, found.anomaly_maps, atol=1e-6)


def test_there_is_nothing_to_leave_out(artifact, tmp_path):
    arguments = ["--ckpt", str(artifact.path.with_suffix(".pt")), "--dap", "baked"]
    result = CliRunner().invoke(export_command, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and "cops has no option --dap: leave it out" in result.stderr
