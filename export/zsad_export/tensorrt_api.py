"""One way to drive `tensorrt` 10 and 11 and `tensorrt_rtx`: what differs is asked for by name.

Precision lives in the ONNX: networks are strongly typed, and no precision flag of any version is
used. Torch-free.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsad.errors import EngineError, InputError, MissingExtraError
from zsad.text_table import TEXT_TABLE
from zsad.words import MAX_TYPES
from zsad_export.float_islands import ComputeTypes, FloatType, Op, classify_compute
from zsad_export.graph_names import INPUT, OUTPUTS, TYPE_OUTPUTS

RTX, NATIVE = "tensorrt_rtx", "tensorrt"
OLDEST_MAJOR = 10
"""The first TensorRT whose networks can be strongly typed."""

_TYPICAL_TYPES = 8
"""Number of defect types that engines are tuned for."""

_COMPUTE_LAYERS = ("MATRIX_MULTIPLY", "CONVOLUTION", "DECONVOLUTION", "EINSUM", "ATTENTION")


@dataclass(frozen=True)
class Compiled:
    """A built engine and the types of the network it was built from."""

    plan: memoryview
    types: ComputeTypes


class Compiler:
    """A TensorRT package, whichever of the two it is.

    Attributes:
        name: The package.
        version: Its version.
    """

    def __init__(self, name: str) -> None:
        """Import the package.

        Raises:
            InputError: It is not installed, or too old.
        """
        self.name = name
        self._trt = _load(name)
        self.version = str(self._trt.__version__)
        flags = self._trt.NetworkDefinitionCreationFlag
        if not hasattr(flags, "STRONGLY_TYPED"):
            raise InputError(
                f"{name} {self.version} is too old: engines need TensorRT {OLDEST_MAJOR} or newer"
            )

    def architectures(self, numbers: Sequence[int]) -> list[Any]:
        """Return the compiler's names of compute capabilities such as 86.

        Raises:
            InputError: The compiler has no such target.
        """
        known = getattr(self._trt, "ComputeCapability", None)
        members = {} if known is None else known.__members__
        for number in numbers:
            if f"SM{number}" not in members:
                have = ", ".join(n[2:] for n in members if n.startswith("SM"))
                raise InputError(
                    f"{self.name} {self.version} cannot compile for SM {number}, only for "
                    f"{have or 'the GPU of this machine'}; for other GPUs (Jetson Orin is 87) run "
                    "zsad-engine without --rtx on the device"
                )
        return [members[f"SM{number}"] for number in numbers]

    def compile(
        self,
        path: Path,
        precision: str,
        max_batch: int,
        architectures: Sequence[Any] = (),
        float32: Collection[str] = (),
    ) -> Compiled:
        """Parse, check and build the graph at `path`.

        Args:
            path: The ONNX file.
            precision: What the network's types must be.
            max_batch: Largest batch; the engine is tuned for a batch of one.
            architectures: Targets from `architectures()`; none means this machine's GPU.
            float32: Modules that are to compute in float32 whatever `precision` is.

        Raises:
            EngineError: The parser or the compiler refuses the graph, or the network is not of
                the precision it should be.
        """
        log = _collector(self._trt)
        builder = self._builder(log)
        flags = 1 << int(self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(flags)
        parser = self._trt.OnnxParser(network, log)
        if not parser.parse_from_file(str(path)):
            raise EngineError(f"{self._title} refuses {path.name}: {_parser_errors(parser)}")
        types = self._check_network(network, path, precision, float32)
        config = builder.create_builder_config()
        config.add_optimization_profile(_profile(builder, network, max_batch))
        if architectures:
            config.num_compute_capabilities = len(architectures)
            for index, architecture in enumerate(architectures):
                config.set_compute_capability(architecture, index)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineError(f"{self._title} cannot build {path.name}: {log.last_error()}")
        return Compiled(memoryview(plan), types)

    @property
    def _title(self) -> str:
        return f"{self.name} {self.version}"

    def _builder(self, log: Any) -> Any:
        try:
            return self._trt.Builder(log)
        except (TypeError, RuntimeError):  # what the binding raises where there is no driver
            raise EngineError(f"{self._title} cannot start: {log.last_error()}") from None

    def _check_network(
        self, network: Any, path: Path, precision: str, float32: Collection[str]
    ) -> ComputeTypes:
        faults = self._interface_faults(network)
        types = self._compute_types(network)
        if precision == "fp32" and types.half:
            faults.append(f"layer '{types.half[0]}' computes in FP16")
        if precision == "fp16" and not types.half:
            faults.append("nothing in it computes in FP16")
        if precision == "fp16" and (strays := types.strays(float32)):
            faults.append(f"layer '{strays[0]}' before the head computes in FP32")
        if faults:
            raise EngineError(
                f"{self._title} parsed {path.name} as something other than {precision}: "
                f"{'; '.join(faults)}"
            )
        return types

    def _interface_faults(self, network: Any) -> list[str]:
        types = self._trt.DataType
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

    def _compute_types(self, network: Any) -> ComputeTypes:
        kinds = {getattr(self._trt.LayerType, name, None) for name in _COMPUTE_LAYERS} - {None}
        floats: dict[Any, FloatType] = {
            self._trt.DataType.FLOAT: "float32",
            self._trt.DataType.HALF: "float16",
        }
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


def _load(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        if name == RTX:
            raise MissingExtraError("tensorrt_rtx", "rtx", "compiling without a GPU") from None
        raise InputError(
            "an engine for this machine's GPU needs NVIDIA's 'tensorrt', which is not installed "
            "(JetPack brings it): install it, or compile without a GPU: zsad-engine ... --rtx"
        ) from None


def _profile(builder: Any, network: Any, max_batch: int) -> Any:
    # Words change without a new engine, so it takes any number of them.
    sizes = {INPUT: (1, 1, max_batch), TEXT_TABLE: (2, 1 + _TYPICAL_TYPES, 1 + MAX_TYPES)}
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        rest = tuple(tensor.shape)[1:]
        profile.set_shape(tensor.name, *((size, *rest) for size in sizes[tensor.name]))
    return profile


def _parser_errors(parser: Any) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    return "; ".join(map(_describe, errors)) or "no reason given"


def _describe(error: Any) -> str:
    if not getattr(error, "node_name", lambda: "")():
        return str(error.desc())
    return f"{error.desc()} (node '{error.node_name()}', operator {error.node_operator()})"


def _collector(trt: Any) -> Any:
    """Return a TensorRT logger that keeps errors for our own message and prints nothing."""

    class Collector(trt.ILogger):  # type: ignore[misc]  # the base class comes with the package
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

        def last_error(self) -> str:
            return self.errors[-1] if self.errors else "no reason given"

    return Collector()
