"""The networks of the fake TensorRT: what a parser reads, and how a builder is told to build it."""

from __future__ import annotations

import enum
import weakref

import numpy as np
import onnx
from fake_gpu import DeviceFault
from onnx import TensorProto, shape_inference

NUMPY = {
    "FLOAT": np.float32, "HALF": np.float16, "UINT8": np.uint8, "INT64": np.int64,
    "INT32": np.int32, "INT8": np.int8, "BOOL": np.bool_,
}  # fmt: skip
_ONNX = {
    TensorProto.FLOAT: "FLOAT", TensorProto.FLOAT16: "HALF", TensorProto.UINT8: "UINT8",
    TensorProto.INT64: "INT64", TensorProto.INT32: "INT32", TensorProto.BOOL: "BOOL",
    TensorProto.INT8: "INT8",
}  # fmt: skip
_KINDS = {
    "MatMul": "MATRIX_MULTIPLY", "Gemm": "MATRIX_MULTIPLY", "Conv": "CONVOLUTION",
    "QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE",
}  # fmt: skip
_LAYERS = [*_KINDS.values(), "DECONVOLUTION", "EINSUM", "ELEMENTWISE", "CONSTANT"]
DataType = enum.Enum("DataType", {name: i for i, name in enumerate(NUMPY)})
LayerType = enum.Enum("LayerType", list(dict.fromkeys(_LAYERS)))


class Tensor:
    def __init__(self, name, dtype, shape):
        self.name, self.shape, self._dtype = name, shape, dtype

    @property
    def dtype(self):  # read-only in 11, and nobody has to write it in 10
        return self._dtype


class Layer:
    def __init__(self, name, kind, inputs, outputs):
        self.name, self.type, self._inputs, self._outputs = name, kind, inputs, outputs
        self.num_inputs, self.num_outputs = len(inputs), len(outputs)

    def get_input(self, index):
        return self._inputs[index]

    def get_output(self, index):
        return self._outputs[index]


class Network:
    def __init__(self, typed):
        self.typed, self.model = typed, None
        self.layers, self.inputs, self.outputs = [], [], []

    num_layers = property(lambda self: len(self.layers))
    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))

    def get_layer(self, index):
        return self.layers[index]

    def get_input(self, index):
        return self.inputs[index]

    def get_output(self, index):
        return self.outputs[index]

    def read(self, model):
        self.model = model
        known = shape_inference.infer_shapes(model).graph
        infos = {info.name: info for info in (*known.value_info, *known.input, *known.output)}
        types = {name: info.type.tensor_type.elem_type for name, info in infos.items()}
        types |= {weights.name: weights.data_type for weights in known.initializer}

        def tensor(name):
            shape = (
                [d.dim_value or -1 for d in infos[name].type.tensor_type.shape.dim]
                if (name in infos)
                else []
            )
            return Tensor(name, DataType[_ONNX.get(types.get(name), "INT32")], shape)

        self.inputs = [tensor(info.name) for info in known.input]
        self.outputs = [tensor(info.name) for info in known.output]
        for weights in known.initializer:
            self.layers.append(Layer(weights.name, LayerType.CONSTANT, [], [tensor(weights.name)]))
        for node in known.node:
            kind = LayerType[_KINDS.get(node.op_type, "ELEMENTWISE")]
            read = [tensor(name) if name else None for name in node.input]
            self.layers.append(Layer(node.name, kind, read, [tensor(n) for n in node.output]))


class Parser:
    def __init__(self, network, log):
        self.network = network
        self.num_errors = 0

    def parse_from_file(self, path):
        self.network.read(onnx.load(path))
        return True


class Profile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, name, smallest, typical, largest):
        for low, middle, high in zip(smallest, typical, largest, strict=True):
            if not low <= middle <= high:
                raise DeviceFault(f"profile of '{name}' is not in order")
        self.shapes[name] = [tuple(smallest), tuple(typical), tuple(largest)]


class TimingCache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return self.content or b"timings"


class Config:
    def __init__(self):
        self.profiles, self.flags, self.pools = [], set(), {}
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.builder_optimization_level = 3
        self.hardware_compatibility_level = None
        self.progress_monitor = None
        self.timings = None

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_flag(self, flag):
        self.flags.add(flag)

    def clear_flag(self, flag):
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool, n_bytes):
        self.pools[pool] = n_bytes

    def create_timing_cache(self, content):
        return TimingCache(content)

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache.content == b"of another device" and not ignore_mismatch:
            return False
        self.timings, self.began_with = weakref.ref(cache), cache.content
        return True


ProfilingVerbosity = enum.Enum("ProfilingVerbosity", ["LAYER_NAMES_ONLY", "NONE", "DETAILED"])
