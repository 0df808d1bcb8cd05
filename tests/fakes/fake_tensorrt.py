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

from fake_execution import MAGIC, Context, Engine, Logger, TensorIOMode
from fake_gpu import DeviceFault
from fake_network import Config, DataType, LayerType, Network, Parser, Profile, ProfilingVerbosity


class ProgressMonitor:
    pass


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
            if not bytes(plan).startswith(MAGIC):
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
    return MAGIC + json.dumps(facts).encode() + b"\n" + network.model.SerializeToString()


def _kind(tensor, typed):
    kind = tensor.dtype.name
    return "FLOAT" if kind == "HALF" and not typed else kind


def install_tensorrt(monkeypatch, gpu, **options):
    """Put a fake package into place and return it."""
    trt = make_tensorrt(gpu, **options)
    monkeypatch.setitem(sys.modules, trt.__name__, trt)
    return trt
