"""What TensorRT made of a graph, before it builds: interface and types of the parsed network."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from zsad.text_table import TEXT_TABLE
from zsad_export.float_islands import ComputeTypes, FloatType, Op, classify_compute
from zsad_export.graph_names import HALF, INPUT, INT8, OUTPUTS, TYPE_OUTPUTS

_COMPUTE_LAYERS = ("MATRIX_MULTIPLY", "CONVOLUTION", "DECONVOLUTION", "EINSUM", "ATTENTION")


def network_faults(
    trt: Any, network: Any, precision: str, float32: Collection[str] = ()
) -> list[str]:
    """Return in what a parsed network differs from the graph contract and from `precision`.

    Args:
        trt: The package.
        network: What it parsed.
        precision: What the graph is sold as.
        float32: Modules that are to compute in float32 whatever `precision` is.
    """
    types = network_types(trt, network)
    faults = _interface_faults(trt, network)
    if precision not in HALF and types.half:
        faults.append(f"layer '{types.half[0]}' computes in FP16")
    if precision in HALF and not types.half:
        faults.append("nothing in it computes in FP16")
    if precision in HALF and (strays := types.strays(float32)):
        faults.append(f"layer '{strays[0]}' before the head computes in FP32")
    if precision in INT8 and not int8_weights(trt, network):
        faults.append("no weight of it is INT8")
    return faults


def int8_weights(trt: Any, network: Any) -> list[str]:
    """Return the layers of a parsed network that dequantize a constant that really is INT8."""
    kinds, int8 = trt.LayerType, trt.DataType.INT8
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    constants = {layer.get_output(0).name for layer in layers if layer.type == kinds.CONSTANT}
    sources = {layer.name: layer.get_input(0) for layer in layers if layer.type == kinds.DEQUANTIZE}
    return [name for name, t in sources.items() if t.name in constants and t.dtype == int8]


def network_types(trt: Any, network: Any) -> ComputeTypes:
    """Return which layers of a parsed network compute in which type."""
    kinds = {getattr(trt.LayerType, name, None) for name in _COMPUTE_LAYERS} - {None}
    floats: dict[Any, FloatType] = {trt.DataType.FLOAT: "float32", trt.DataType.HALF: "float16"}
    ops: list[Op] = []
    types: dict[str, FloatType] = {}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        read = [layer.get_input(i) for i in range(layer.num_inputs)]
        written = [layer.get_output(i) for i in range(layer.num_outputs)]
        types.update({t.name: floats.get(t.dtype, "other") for t in written})
        names = (tuple(t.name for t in tensors if t) for tensors in (read, written))
        ops.append(Op(layer.name, layer.type in kinds, *names))
    return classify_compute(ops, types)


def _interface_faults(trt: Any, network: Any) -> list[str]:
    types = trt.DataType
    expected = {INPUT: types.UINT8, **dict.fromkeys(OUTPUTS, types.FLOAT)}
    tensors = [network.get_input(i) for i in range(network.num_inputs)]
    tensors += [network.get_output(i) for i in range(network.num_outputs)]
    found = {tensor.name: tensor.dtype for tensor in tensors}
    if TEXT_TABLE in found:
        expected |= dict.fromkeys((TEXT_TABLE, *TYPE_OUTPUTS), types.FLOAT)
    return [
        f"'{name}' is {found.get(name)}, not {expected.get(name)}"
        for name in dict.fromkeys((*expected, *found))
        if found.get(name) != expected.get(name)
    ]
