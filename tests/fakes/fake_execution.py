"""The engines of the fake TensorRT: what a plan says, and the duties of who runs it."""

from __future__ import annotations

import enum
import json
import types

import numpy as np
import onnxruntime
from fake_gpu import ALIGNMENT, Call, DeviceFault
from fake_network import NUMPY, DataType

MAGIC = b"fake engine\n"
_WORDS = {"FLOAT": "Float", "HALF": "Half", "UINT8": "UInt8"}
TensorIOMode = enum.Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])


class Logger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity, message):
        raise NotImplementedError


class Engine:
    """What a plan says, over a session of ONNX Runtime."""

    def __init__(self, trt, plan, log):
        head, _, model = bytes(plan)[len(MAGIC) :].partition(b"\n")
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
        shape, dtype = self.get_tensor_shape(name), NUMPY[self.engine.io[name]["dtype"]]
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
