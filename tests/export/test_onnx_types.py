import onnx
import pytest
from onnx import TensorProto, helper

from zsad.errors import ParityError
from zsad_export.onnx_types import check_precision, compute_types


def fp16_path(artifact):
    return artifact.path / "model.fp16.onnx"


def run_in_float32(name):
    """Make one compute operator of a half graph read, multiply and write float32."""

    def change(graph):
        node = next(n for n in graph.node if n.name == name)
        at = list(graph.node).index(node)
        casts = []
        for index, tensor in enumerate(list(node.input)):
            casts.append(helper.make_node("Cast", [tensor], [f"{tensor}.wide"], to=1))
            node.input[index] = f"{tensor}.wide"
            graph.value_info.add(name=f"{tensor}.wide").type.tensor_type.elem_type = 1
        written = node.output[0]
        node.output[0] = "stray.wide"
        graph.value_info.add(name="stray.wide").type.tensor_type.elem_type = 1
        back = helper.make_node("Cast", ["stray.wide"], [written], to=TensorProto.FLOAT16)
        graph.node.insert(at + 1, back)
        for cast in casts:
            graph.node.insert(at, cast)

    return change


def test_fp32_graph_computes_in_fp32_only(artifact):
    found = check_precision(artifact.path / "model.fp32.onnx", "fp32")
    assert not found.half
    assert len(found.head) > 20


def test_fp16_graph_computes_in_fp32_only_in_its_head(artifact):
    found = check_precision(fp16_path(artifact), "fp16")
    assert not found.islands
    # The cosine of CLS and of the patches, and the two products of up-sampling and Gaussian.
    assert [name.rpartition("/")[0] for name in found.head] == [
        *["detector.head"] * 2,
        *["detector.smooth"] * 2,
    ]
    assert "detector.vision.blocks.2.mlp.c_proj/MatMul" in found.half


def test_stray_fp32_compute_is_named(artifact, edit_graph):
    stray = "detector.vision.blocks.1.mlp.c_fc/MatMul"
    path = edit_graph(fp16_path(artifact), run_in_float32(stray))
    assert compute_types(onnx.load(path).graph).islands == (stray,)
    with pytest.raises(ParityError, match=stray):
        check_precision(path, "fp16")


def test_an_fp32_graph_cannot_pass_for_fp16(artifact):
    with pytest.raises(ParityError, match="nothing in it computes in fp16"):
        check_precision(artifact.path / "model.fp32.onnx", "fp16")


def test_an_fp16_graph_cannot_pass_for_fp32(artifact):
    with pytest.raises(ParityError, match="conv1/Conv' computes in fp16"):
        check_precision(fp16_path(artifact), "fp32")


def test_a_tower_that_never_returns_to_half_is_no_head(artifact, edit_graph):
    def widen_all_after_conv(graph):
        seen_conv = False
        for value in graph.value_info:
            seen_conv = seen_conv or value.name == "detector.vision.conv1/Conv"
            tensor = value.type.tensor_type
            if tensor.elem_type == TensorProto.FLOAT16 and not value.name.startswith(
                ("graph/", "detector.vision.conv1")
            ):
                tensor.elem_type = TensorProto.FLOAT

    path = edit_graph(fp16_path(artifact), widen_all_after_conv)
    with pytest.raises(ParityError, match=r"weights in fp32, from 'detector\.vision\.blocks\.0"):
        check_precision(path, "fp16")


def test_a_tensor_without_a_type_is_an_error(artifact, edit_graph):
    def forget(graph):
        known = {node.output[0] for node in graph.node}
        forgotten = next(value for value in graph.value_info if value.name in known)
        graph.value_info.remove(forgotten)

    with pytest.raises(ParityError, match="does not state the type of tensor"):
        check_precision(edit_graph(fp16_path(artifact), forget), "fp16")
