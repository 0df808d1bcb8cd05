import os
from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from zsad.errors import ParityError
from zsad.schema import sha256_file
from zsad_calibration.int8.linears import find_linears
from zsad_export.graph import DeploymentGraph
from zsad_export.onnx_contract import WEIGHTS_HASH, check_model
from zsad_export.onnx_export import export_onnx
from zsad_export.reference import reference_input
from zsad_train.batches import preprocess_spec
from zsad_train.methods import method_class
from zsad_train.methods.base import TrainingWords
from zsad_train.towers import load_backbone

HW = (32, 40)
OUTPUTS = ("score", "anomaly_map", "score_logit")


def run_onnx(path, images):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(list(OUTPUTS), {"image": images})


class Twice(torch.nn.Module):
    """One module that runs twice: the exporter folds a transposed copy of its weight for each."""

    def __init__(self, width):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, width, 8, 8)
        self.mix = torch.nn.Linear(width, width)

    def forward(self, images):
        tokens = self.conv(images).flatten(2).transpose(1, 2)
        logits = self.mix(self.mix(tokens).relu()).mean(dim=-1)
        full = logits.sigmoid().reshape(-1, HW[0] // 8, HW[1] // 8)
        full = full.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
        return logits.mean(dim=1).sigmoid(), full, logits.mean(dim=1)


@pytest.mark.parametrize("width", [16, 96])  # the exporter itself folds up to 8192 values
def test_a_module_that_runs_twice_has_one_weight_as_it_is_multiplied_by(
    width, spec, images, tmp_path
):
    graph = DeploymentGraph(Twice(width), spec, "fp32")
    export_onnx(graph, HW, tmp_path / "twice.onnx")
    written = onnx.load(tmp_path / "twice.onnx").graph
    weights = {w.name: tuple(w.dims) for w in written.initializer}
    assert [*weights.values()].count((width, width)) == 1
    products = [node.input[1] in weights for node in written.node if node.op_type == "MatMul"]
    assert products == [True, True]
    expected = graph(torch.from_numpy(images))
    for found, tensor in zip(run_onnx(tmp_path / "twice.onnx", images), expected, strict=True):
        np.testing.assert_allclose(found, tensor.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "tails", "calls"), [("winclip", 0, 3), ("anomalyclip", 0, 1), ("faprompt", 3, 1)]
)
def test_every_linear_of_a_block_multiplies_by_a_stored_weight(name, tails, calls, tmp_path):
    backbone = load_backbone("tiny")  # its projections are larger than the exporter folds
    words = TrainingWords(("plate",), ("broken plate",), ("intact plate",))
    method = method_class(name)
    baked = method(backbone, method.presets[name], words).eval().bake()
    hw = backbone.vision.image_hw
    graph = DeploymentGraph(baked, preprocess_spec(backbone.info), "fp32")
    export_onnx(graph, hw, tmp_path / "graph.onnx")
    linears = find_linears(onnx.load(tmp_path / "graph.onnx").graph)
    found = Counter(linear.block for linear in linears)
    # A last block that is read at one row projects queries apart from keys and values.
    expected = {f"vision.blocks.{index}": 4 for index in range(7)} | {"vision.blocks.7": 5}
    expected |= {f"prompts.tail.blocks.{index}": 4 + (index == tails - 1) for index in range(tails)}
    assert found == expected
    assert min(len(linear.calls) for linear in linears) == calls


@pytest.fixture(scope="module")
def reference(build_dive, images, spec):
    batch = torch.cat([reference_input(image, spec) for image in images])
    with torch.no_grad():
        return [output.numpy() for output in build_dive()(batch)]


@pytest.mark.parametrize("batch", [1, 3])
def test_fp32_graph_equals_the_unbaked_method(artifact, images, reference, batch):
    found = run_onnx(artifact.path / "model.fp32.onnx", images[:batch])
    for output, expected in zip(found, reference, strict=True):
        assert output.shape == expected[:batch].shape
        np.testing.assert_allclose(output, expected[:batch], rtol=0, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_fp16_graph_is_within_its_limits(artifact, images, reference, batch):
    score, anomaly_map, _ = run_onnx(artifact.path / "model.fp16.onnx", images[:batch])
    np.testing.assert_allclose(score, reference[0][:batch], rtol=0, atol=5e-3)
    for found, expected in zip(anomaly_map, reference[1], strict=False):
        assert np.ptp(expected) > 0.2  # the map varies, or a correlation would say nothing
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] >= 0.999


def test_the_maps_of_this_test_differ_from_image_to_image(reference):
    assert np.abs(reference[1][0] - reference[1][1]).max() > 0.1


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_file_says_nothing_about_the_machine(artifact, precision):
    content = (artifact.path / f"model.{precision}.onnx").read_bytes()
    for trace in (os.getcwd(), torch.__path__[0], "site-packages", ".py", "stack_trace"):
        assert trace.encode() not in content


def test_nodes_are_named_after_modules(artifact):
    nodes = onnx.load(artifact.path / "model.fp32.onnx").graph.node
    names = {node.name for node in nodes}
    assert len(names) == len(nodes)
    assert {
        "detector.vision.conv1/Conv",
        "detector.vision.blocks.2.mlp.c_fc/MatMul",
        "detector.vision.blocks.1/Softmax",  # attention belongs to its block, not to the tower
        "detector.injections.1.output/MatMul",
    } <= names


def test_large_weights_go_to_a_file_whose_hash_the_graph_carries(small_detector, spec, tmp_path):
    graph = DeploymentGraph(small_detector(), spec, "fp32")
    path = tmp_path / "model.onnx"
    assert export_onnx(graph, HW, path, external_data_bytes=100) == "model.onnx.data"
    image = np.full((1, *HW, 3), 90, dtype=np.uint8)
    score = run_onnx(path, image)[0]
    np.testing.assert_allclose(score, graph(torch.from_numpy(image))[0].numpy(), atol=1e-6)
    noted = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
    assert noted == {WEIGHTS_HASH: sha256_file(tmp_path / "model.onnx.data")}


@pytest.fixture
def model(artifact):
    return onnx.load(artifact.path / "model.fp32.onnx")


LAYER_NORMS = 11  # ln_pre, two in each of three blocks, two injections, ln_post of CLS and patches


def test_contract_holds_for_what_is_exported(model):
    check_model(model, HW, layer_norms=LAYER_NORMS)


def fixed_batch(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def other_batch_name(model):
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "s40"


def float_input(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def swapped_sides(model):
    dims = model.graph.output[1].type.tensor_type.shape.dim
    dims[1].dim_value, dims[2].dim_value = dims[2].dim_value, dims[1].dim_value


def extra_output(model):
    model.graph.output.add().CopyFrom(model.graph.output[0])
    model.graph.output[-1].name = "extra"


def new_opset(model):
    model.opset_import[0].version = 21


def foreign_domain(model):
    model.opset_import.add(domain="com.microsoft", version=1)


def new_ir(model):
    model.ir_version = 11


def stack_trace(model):
    model.graph.node[3].metadata_props.add(key="stack_trace", value="File ...")


def resize(model):
    model.graph.node.append(helper.make_node("Resize", ["x"], ["y"]))


def transpose_on_bytes(model):
    model.graph.node.append(helper.make_node("Transpose", ["image"], ["y"]))


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (fixed_batch, r"'image' is uint8\[2, 32, 40, 3\]"),
        (other_batch_name, r"'score' is float\['s40'\]"),
        (float_input, "'image' is float"),
        (swapped_sides, r"'anomaly_map' is float\['N', 40, 32\]"),
        (extra_output, r"'extra' is float\['N'\], not nothing"),
        (new_opset, "opsets {'ai.onnx': 21}"),
        (foreign_domain, "com.microsoft"),
        (new_ir, "IR 11"),
        (stack_trace, "metadata"),
        (resize, "Resize"),
        (transpose_on_bytes, "Transpose on uint8"),
    ],
)
def test_contract_names_what_breaks_it(model, break_it, said):
    break_it(model)
    with pytest.raises(ParityError, match=said):
        check_model(model, HW, layer_norms=LAYER_NORMS)


def test_contract_wants_every_layer_norm_as_one_node(model):
    with pytest.raises(ParityError, match="11 LayerNormalization nodes for 12 LayerNorms"):
        check_model(model, HW, layer_norms=LAYER_NORMS + 1)
