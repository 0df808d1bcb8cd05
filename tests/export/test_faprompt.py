"""FAPrompt's text in the graph: how much of it is left, and what leaving it out costs."""

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
from zsad_train.methods.faprompt import FaPrompt
from zsad_train.methods.faprompt_config import PRESETS
from zsad_train.towers import load_backbone

RELEASED_TOKENS = 22 * 77
"""Text tokens per image of the released code: 1 + 10 prompts before DAP, 1 + 10 after, uncut."""


@pytest.fixture(scope="module")
def method(small_clip):
    backbone = load_backbone("zsad-test-export", pretrained="random:3")
    torch.manual_seed(0)
    made = FaPrompt(backbone, PRESETS["faprompt-released"], TrainingWords(("metal plate",)))
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made


@pytest.fixture(scope="module")
def export(method, tmp_path_factory):
    """Return `run(*flags)`: exports the method, gives the artifact and what was printed."""
    folder = tmp_path_factory.mktemp("faprompt")
    save_checkpoint(folder / "faprompt.pt", method, {})

    def run(*flags):
        out = folder / "-".join(flag.strip("-") for flag in flags)
        arguments = ["--ckpt", folder / "faprompt.pt", "--out", out, *flags, "--no-engine"]
        result = CliRunner().invoke(export_command, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return Artifact.open(out), result.stdout

    return run


@pytest.fixture(scope="module")
def exact(export):
    return export("--dap", "exact")


@pytest.fixture(scope="module")
def baked(export):
    return export("--dap", "baked", "--fp16")


def text_tokens(path):
    """Return the tokens that one image sends through each weight of the text blocks."""
    model = onnx.load(path)
    weights = {weight.name: math.prod(weight.dims) for weight in model.graph.initializer}
    linears = [
        node
        for node in model.graph.node
        if node.name.startswith("detector.prompts.tail.blocks.")
        and node.op_type in ("MatMul", "Gemm")
        and any(name in weights and ".key" not in name and ".value" not in name
                for name in node.input)
    ]  # fmt: skip
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in linears)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs = session.run(None, {"image": np.zeros((1, 32, 32, 3), np.uint8)})
    sizes = [max(weights.get(name, 0) for name in node.input) for node in linears]
    return [(out[..., 0].size, size) for out, size in zip(outputs, sizes, strict=True)]


def test_the_graph_computes_at_most_4_percent_of_the_released_codes_text(exact, method):
    found = text_tokens(exact[0].path / "model.fp32.onnx")
    # Two blocks: 10 prompts x 6 tokens, of which the last block needs keys and values, then 10.
    assert max(tokens for tokens, _ in found) == 10 * 6
    work = sum(tokens * size for tokens, size in found)
    blocks = method.backbone.text.blocks
    matrices = sum(p.numel() for p in blocks.parameters() if p.dim() == 2)
    assert sum(size for _, size in found) == matrices  # nothing of the blocks was overlooked
    assert 10 * 6 / RELEASED_TOKENS < 0.04
    assert work / (RELEASED_TOKENS * matrices) < 10 * 6 / RELEASED_TOKENS


def test_nothing_is_approximated_unless_asked_for(exact):
    artifact, printed = exact
    assert artifact.manifest.method.options["dap"] == "exact"
    assert "moves the score" not in printed


def test_the_fast_form_is_recorded_measured_and_printed(exact, baked):
    artifact, printed = baked
    assert artifact.manifest.method.options["dap"] == "baked"
    _, full = read_golden(exact[0])
    _, fast = read_golden(artifact)
    score = np.abs(full.scores - fast.scores).max()
    highest = np.abs(full.anomaly_maps - fast.anomaly_maps).max()
    note = (
        f"on the golden frames --dap baked moves the score by up to {score:.2g} and the map by up "
        f"to {highest:.2g}"
    )
    assert score > 1e-3
    for parity in artifact.manifest.parity.values():
        assert note in parity.evidence
    assert printed.count(note) == 2


def test_the_fast_form_is_smaller_and_holds_no_text_block(exact, baked):
    graphs = [onnx.load(artifact.path / "model.fp32.onnx").graph for artifact, _ in (exact, baked)]
    names = [{node.name.split("/")[0] for node in graph.node} for graph in graphs]
    assert any(".tail." in name for name in names[0])
    assert not any("tail" in name or "prior" in name for name in names[1])


def test_the_reference_of_the_exact_form_is_the_method_itself(exact, method):
    _, golden = read_golden(exact[0])
    spec = preprocess_spec(method.backbone.info)
    found = run_reference(method, golden_frames(), spec)
    np.testing.assert_allclose(golden.scores, found.scores, atol=1e-6)
    np.testing.assert_allclose(golden.anomaly_maps, found.anomaly_maps, atol=1e-6)
