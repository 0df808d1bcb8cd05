"""A TensorRT that obeys NVIDIA's documentation to the letter and computes with ONNX Runtime.

Its rules are those of the Python pages "IExecutionContext", "ICudaEngine", "IBuilderConfig",
"INetworkDefinition", "ProgressMonitor" and "EngineInspector" and of the migration pages "TensorRT
10.x to 11.x" (docs.nvidia.com/deeplearning/tensorrt). What those pages call undefined is a
`DeviceFault`.

Release 10 wants STRONGLY_TYPED to make a network typed, and knows EXPLICIT_BATCH and the FP16 and
INT8 flags. Release 11 has only STRONGLY_TYPED, which it ignores, for every network is typed.
"""

from __future__ import annotations

import enum
import json
import sys
import types
import weakref

import numpy as np
import onnx
import onnxruntime
from fake_gpu import ALIGNMENT, Call, DeviceFault
from onnx import TensorProto, shape_inference

_MAGIC = b"fake engine\n"
_NUMPY = {
    "FLOAT": np.float32, "HALF": np.float16, "UINT8": np.uint8, "INT64": np.int64,
    "INT32": np.int32, "INT8": np.int8, "BOOL": np.bool_,
}  # fmt: skip
_ONNX = {
    TensorProto.FLOAT: "FLOAT", TensorProto.FLOAT16: "HALF", TensorProto.UINT8: "UINT8",
    TensorProto.INT64: "INT64", TensorProto.INT32: "INT32", TensorProto.BOOL: "BOOL",
    TensorProto.INT8: "INT8",
}  # fmt: skip
_WORDS = {"FLOAT": "Float", "HALF": "Half", "UINT8": "UInt8"}
_KINDS = {
    "MatMul": "MATRIX_MULTIPLY", "Gemm": "MATRIX_MULTIPLY", "Conv": "CONVOLUTION",
    "QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE",
}  # fmt: skip
_LAYERS = [*_KINDS.values(), "DECONVOLUTION", "EINSUM", "ELEMENTWISE", "CONSTANT"]

DataType = enum.Enum("DataType", {name: i for i, name in enumerate(_NUMPY)})
LayerType = enum.Enum("LayerType", list(dict.fromkeys(_LAYERS)))
TensorIOMode = enum.Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])


class Logger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity, message):
        raise NotImplementedError


class ProgressMonitor:
    pass


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


class Engine:
    """What a plan says, over a session of ONNX Runtime."""

    def __init__(self, trt, plan, log):
        head, _, model = bytes(plan)[len(_MAGIC) :].partition(b"\n")
        self.trt, self.log, self.facts = trt, log, json.loads(head)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self.io = {**self.facts["inputs"], **self.facts["outputs"]}

    num_io_tensors = property(lambda self: len(self.io))

    def get_tensor_name(self, index):
        return list(self.io)[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self.facts["inputs"] else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return DataType[self.io[name]["dtype"]]

    def get_tensor_shape(self, name):
        return tuple(self.io[name]["shape"])

    def get_tensor_profile_shape(self, name, profile):
        return [tuple(shape) for shape in self.facts["profile"][name]]

    def create_execution_context(self):
        return self.trt.Context(self)

    def create_engine_inspector(self):
        return types.SimpleNamespace(get_engine_information=lambda kind: self._information())

    def _information(self):
        if not self.facts["detailed"]:
            return json.dumps({"Layers": [layer["name"] for layer in self.facts["layers"]]})
        layers = [
            {"Name": layer["name"], "Outputs": [self._described(t) for t in layer["types"]]}
            for layer in self.facts["layers"]
        ]
        return json.dumps({"Layers": layers, **self._interface()})

    def _interface(self):
        if self.trt.major < 11:
            return {"Bindings": list(self.io)}
        return {"I/O Tensors": [{"Name": name} for name in self.io]}

    def _described(self, kind):
        word = _WORDS.get(kind, kind)
        if self.trt.major < 11:
            return {"Name": "t", "Format/Datatype": word}
        return {"Name": "t", "Datatype": word, "Format": "Row major linear"}


class Context:
    """Execution, with the duties of its caller checked."""

    def __init__(self, engine):
        self.engine, self.gpu, self.log = engine, engine.trt.gpu, engine.log
        self.gpu.require_context()
        self.shapes, self.addresses, self.warm = {}, {}, False

    def set_input_shape(self, name, shape):
        self.gpu.trace.append("set_input_shape")
        if name not in self.engine.facts["inputs"]:
            raise DeviceFault(f"set_input_shape: '{name}' is no input")
        smallest, _, largest = self.engine.get_tensor_profile_shape(name, 0)
        fits = len(shape) == len(largest) and all(
            low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True)
        )
        if not fits:
            self._error(f"'{name}' {tuple(shape)} is outside of the profile")
            return False
        self.shapes[name], self.warm = tuple(shape), False
        return True

    def infer_shapes(self):
        self.gpu.trace.append("infer_shapes")
        return [name for name in self.engine.facts["inputs"] if name not in self.shapes]

    def get_tensor_shape(self, name):
        if name in self.shapes:
            return self.shapes[name]
        sizes = {}
        for given, shape in self.shapes.items():
            sizes |= dict(zip(self.engine.io[given]["dims"], shape, strict=True))
        if "1+K" in sizes:
            sizes["K"] = sizes["1+K"] - 1
        return tuple(
            d if isinstance(d, int) else sizes.get(d, -1) for d in self.engine.io[name]["dims"]
        )

    def set_tensor_address(self, name, address):
        self.gpu.trace.append("set_tensor_address")
        if address % ALIGNMENT:
            self._error(f"the address of '{name}' is not aligned to {ALIGNMENT} bytes")
            return False
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle):
        self.gpu.trace.append("execute_async_v3")
        self.gpu.require_context()
        if missing := [n for n in self.engine.facts["inputs"] if n not in self.shapes]:
            self._error(f"the shape of input '{missing[0]}' is not set")
            return False
        if missing := [n for n in self.engine.io if not self.addresses.get(n)]:
            self._error(f"tensor '{missing[0]}' has no address")
            return False
        stream = self.gpu.streams.get(stream_handle)
        if stream is None:
            raise DeviceFault("execute_async_v3: no such stream")
        if stream.captured is not None and not self.warm:
            raise DeviceFault("captured before a first call with these shapes has run")
        for name in self.engine.io:  # of the right size and alive
            self._memory(name, self.addresses[name])
        addresses = dict(self.addresses)
        stream.submit(Call(lambda: self._run(addresses)))
        return True

    def _memory(self, name, address):
        shape, dtype = self.get_tensor_shape(name), _NUMPY[self.engine.io[name]["dtype"]]
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self.gpu.device_bytes(address, n_bytes).view(dtype).reshape(shape)

    def _run(self, addresses):
        feeds = {n: self._memory(n, addresses[n]) for n in self.engine.facts["inputs"]}
        names = list(self.engine.facts["outputs"])
        results = self.engine.session.run(names, feeds)
        for name, value in zip(names, results, strict=True):
            self._memory(name, addresses[name])[...] = value
        self.warm = True
        self.gpu.now_ms += 1.0

    def _error(self, message):
        self.log.log(Logger.ERROR, f"IExecutionContext: {message}")


def make_tensorrt(gpu, version="10.3.0", name="tensorrt", context=Context, labelled_only=False):
    """Return a module like `tensorrt` of a release, on `gpu`.

    Args:
        gpu: The fake GPU.
        version: 10.x or 11.x.
        name: Its import name.
        context: The class of its execution contexts.
        labelled_only: Build FP32 engines whatever the network's types are, as others have shipped.
    """
    trt = types.ModuleType(name)
    trt.__version__, trt.gpu, trt.major = version, gpu, int(version.split(".")[0])
    trt.Context, trt.builds = context, []
    trt.DataType, trt.LayerType, trt.TensorIOMode = DataType, LayerType, TensorIOMode
    trt.ILogger, trt.IProgressMonitor = Logger, ProgressMonitor
    trt.ProfilingVerbosity = ProfilingVerbosity
    trt.LayerInformationFormat = enum.Enum("LayerInformationFormat", ["ONELINE", "JSON"])
    trt.MemoryPoolType = enum.Enum("MemoryPoolType", ["WORKSPACE", "DLA_MANAGED_SRAM"])
    flags = ["REFIT", "TF32", "VERSION_COMPATIBLE"]
    levels = ["NONE", "AMPERE_PLUS"]
    creation = {"STRONGLY_TYPED": 1}
    if trt.major < 11:
        flags += ["FP16", "INT8"]
        creation["EXPLICIT_BATCH"] = 0
    else:
        levels += ["SAME_COMPUTE_CAPABILITY"]
    trt.BuilderFlag = enum.Enum("BuilderFlag", flags)
    trt.HardwareCompatibilityLevel = enum.Enum("HardwareCompatibilityLevel", levels)
    trt.NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", creation)
    trt.OnnxParser = Parser

    class Builder:
        def __init__(self, log):
            self.log = log

        def create_network(self, flags=0):
            typed = bool(flags & (1 << trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
            return Network(typed or trt.major >= 11)

        def create_builder_config(self):
            config = Config()
            config.set_flag(trt.BuilderFlag.TF32)  # the page "IBuilderConfig": on by default
            return config

        def create_optimization_profile(self):
            return Profile()

        def build_serialized_network(self, network, config):
            trt.builds.append(config)
            if config.timings is not None and config.timings() is None:
                raise DeviceFault("the timing cache must live until the engine is built")
            _report_progress(config.progress_monitor)
            dynamic = [tensor.name for tensor in network.inputs if -1 in tensor.shape]
            if not config.profiles or set(dynamic) - set(config.profiles[0].shapes):
                self.log.log(Logger.ERROR, "no optimization profile for a dynamic input")
                return None
            return _plan(network, config, network.typed and not labelled_only)

    class Runtime:
        def __init__(self, log):
            self.log, self.engine_host_code_allowed = log, False

        def deserialize_cuda_engine(self, plan):
            if not bytes(plan).startswith(_MAGIC):
                self.log.log(Logger.ERROR, "IRuntime: the plan is of another release")
                return None
            return Engine(trt, plan, self.log)

    trt.Builder, trt.Runtime = Builder, Runtime
    return trt


def _report_progress(monitor):
    if monitor is None:
        return
    monitor.phase_start("Building Engine", None, 2)
    monitor.phase_start("Tactic Selection", "Building Engine", 3)
    for step in range(3):
        monitor.step_complete("Tactic Selection", step)
    monitor.phase_finish("Tactic Selection")
    monitor.phase_finish("Building Engine")


def _plan(network, config, typed):
    def told(info, tensor):
        dims = [d.dim_value or d.dim_param for d in info.type.tensor_type.shape.dim]
        return {"dtype": tensor.dtype.name, "shape": list(tensor.shape), "dims": dims}

    graph = network.model.graph
    facts = {
        "inputs": {t.name: told(i, t) for i, t in zip(graph.input, network.inputs, strict=True)},
        "outputs": {t.name: told(o, t) for o, t in zip(graph.output, network.outputs, strict=True)},
        "profile": config.profiles[0].shapes,
        "detailed": config.profiling_verbosity is ProfilingVerbosity.DETAILED,
        "layers": [
            {"name": layer.name, "types": [_kind(t, typed) for t in layer._outputs]}
            for layer in network.layers
        ],
    }
    return _MAGIC + json.dumps(facts).encode() + b"\n" + network.model.SerializeToString()


def _kind(tensor, typed):
    kind = tensor.dtype.name
    return "FLOAT" if kind == "HALF" and not typed else kind


def install_tensorrt(monkeypatch, gpu, **options):
    """Put a fake package into place and return it."""
    trt = make_tensorrt(gpu, **options)
    monkeypatch.setitem(sys.modules, trt.__name__, trt)
    return trt
