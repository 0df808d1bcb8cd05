"""A graph of two transformer blocks whose every number is at hand, and frames for it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

HW = (4, 6)
WIDTH, HEAD = 8, 5


def make_weights(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "detector.vision.patch": (3, WIDTH),
        "detector.vision.blocks.0/MatMul.constant1": (WIDTH, 2 * WIDTH),
        "detector.vision.blocks.0.attn.out_proj/MatMul.constant1": (WIDTH, WIDTH),
        "detector.vision.blocks.0.mlp.c_fc/MatMul.constant1": (WIDTH, 3 * WIDTH),
        "detector.vision.blocks.0.mlp.c_proj/MatMul.constant1": (3 * WIDTH, WIDTH),
        "detector.vision.blocks.1.mlp.c_fc.weight": (HEAD, WIDTH),
        "detector.vision.proj": (HEAD, HEAD),
        "detector.head.direction": (HEAD, 1),
        "detector.head.patch_direction": (WIDTH, 1),
    }
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    for norm in ("ln_1", "ln_2"):
        prefix = f"detector.vision.blocks.0.{norm}"
        weights[f"{prefix}.weight"] = rng.uniform(0.5, 2, WIDTH).astype(np.float32)
        weights[f"{prefix}.bias"] = rng.normal(0, 0.5, WIDTH).astype(np.float32)
    weights["detector.vision.blocks.0.ln_1.weight"][2] *= 30  # one loud channel, as in CLIP
    weights["detector.vision.blocks.1.mlp.c_fc.bias"] = rng.normal(0, 1, HEAD).astype(np.float32)
    return weights


def node(kind, name, inputs, outputs=None, **attributes):
    return helper.make_node(kind, inputs, outputs or [name], name=name, **attributes)


def make_model(weights):
    """V-V attention that uses its output projection twice, an MLP, a Gemm on one token."""
    block, vision = "detector.vision.blocks.0", "detector.vision"
    proj, mlp = f"{block}.attn.out_proj", f"{block}.mlp"
    split = [f"{block}/Split", f"{block}/Split:1"]
    constants = {
        "tokens": np.array([0, HW[0] * HW[1], 3], np.int64),
        "rows": np.array([0, *HW], np.int64),
        "first": np.array(0, np.int64),
        "last": np.array([-1], np.int64),
        "full": np.float32(1 / 255),
        **weights,
    }
    nodes = [
        node("Cast", "graph/Cast", ["image"], to=TensorProto.FLOAT),
        node("Mul", "graph/Mul", ["graph/Cast", "full"]),
        node("Reshape", "graph/Reshape", ["graph/Mul", "tokens"]),
        node("MatMul", f"{vision}/MatMul", ["graph/Reshape", "detector.vision.patch"]),
        node(
            "LayerNormalization",
            f"{block}.ln_1/LayerNormalization",
            [f"{vision}/MatMul", f"{block}.ln_1.weight", f"{block}.ln_1.bias"],
        ),
        node(
            "MatMul",
            f"{block}/MatMul",
            [f"{block}.ln_1/LayerNormalization", f"{block}/MatMul.constant1"],
        ),
        node("Split", f"{block}/Split", [f"{block}/MatMul"], split, axis=-1, num_outputs=2),
        node("Transpose", f"{block}/Transpose", [split[1]], perm=[0, 2, 1]),
        node("MatMul", f"{block}/MatMul_1", [split[1], f"{block}/Transpose"]),
        node("Softmax", f"{block}/Softmax", [f"{block}/MatMul_1"]),
        node("MatMul", f"{block}/MatMul_2", [f"{block}/Softmax", split[1]]),
        node("MatMul", f"{proj}/MatMul", [f"{block}/MatMul_2", f"{proj}/MatMul.constant1"]),
        node("MatMul", f"{proj}/MatMul_1", [split[0], f"{proj}/MatMul.constant1"]),
        node("Add", f"{block}/Add", [f"{proj}/MatMul", f"{proj}/MatMul_1"]),
        node("Add", f"{block}/Add_1", [f"{vision}/MatMul", f"{block}/Add"]),
        node(
            "LayerNormalization",
            f"{block}.ln_2/LayerNormalization",
            [f"{block}/Add_1", f"{block}.ln_2.weight", f"{block}.ln_2.bias"],
        ),
        node(
            "MatMul",
            f"{mlp}.c_fc/MatMul",
            [f"{block}.ln_2/LayerNormalization", f"{mlp}.c_fc/MatMul.constant1"],
        ),
        node("Gelu", f"{mlp}.gelu/Gelu", [f"{mlp}.c_fc/MatMul"]),
        node(
            "MatMul", f"{mlp}.c_proj/MatMul", [f"{mlp}.gelu/Gelu", f"{mlp}.c_proj/MatMul.constant1"]
        ),
        node("Add", f"{block}/Add_2", [f"{block}/Add_1", f"{mlp}.c_proj/MatMul"]),
        node("Gather", "detector.vision.blocks.1/Gather", [f"{block}/Add_2", "first"], axis=1),
        node(
            "Gemm",
            "detector.vision.blocks.1.mlp.c_fc/Gemm",
            [
                "detector.vision.blocks.1/Gather",
                "detector.vision.blocks.1.mlp.c_fc.weight",
                "detector.vision.blocks.1.mlp.c_fc.bias",
            ],
            transB=1,
        ),
        # As a tower without a last LayerNorm exports it: in the scope of the last block.
        node(
            "MatMul",
            "detector.vision.blocks.1/MatMul",
            ["detector.vision.blocks.1.mlp.c_fc/Gemm", "detector.vision.proj"],
        ),
        node(
            "MatMul",
            "detector.head/MatMul",
            ["detector.vision.blocks.1/MatMul", "detector.head.direction"],
        ),
        node("Squeeze", "detector.head/Squeeze", ["detector.head/MatMul", "last"], ["score_logit"]),
        node("Sigmoid", "detector/Sigmoid", ["score_logit"], ["score"]),
        node(
            "MatMul", "detector.head/MatMul_1", [f"{block}/Add_2", "detector.head.patch_direction"]
        ),
        node("Sigmoid", "detector/Sigmoid_1", ["detector.head/MatMul_1"]),
        node("Reshape", "detector/Reshape", ["detector/Sigmoid_1", "rows"], ["anomaly_map"]),
    ]
    graph = helper.make_graph(
        nodes,
        "blocks",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *HW, 3])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, ["N", *HW]),
            helper.make_tensor_value_info("score_logit", TensorProto.FLOAT, ["N"]),
        ],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, ir_version=10, opset_imports=opset)
    return onnx.shape_inference.infer_shapes(model, check_type=True, data_prop=True)


@pytest.fixture
def weights():
    return make_weights()


@pytest.fixture
def model(weights):
    return make_model(weights)


@pytest.fixture
def path(model, tmp_path):
    onnx.save(model, tmp_path / "model.fp32.onnx")
    return tmp_path / "model.fp32.onnx"


@pytest.fixture
def images():
    return list(np.random.default_rng(1).integers(0, 256, (6, *HW, 3), dtype=np.uint8))
