"""One way to drive `tensorrt` 10 and 11 and `tensorrt_rtx`: what differs is asked for by name.

Precision lives in the ONNX: networks are strongly typed, and no precision flag of any version is
used. Torch-free.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zsad.engine_cache import BuildOptions
from zsad.errors import EngineError, InputError
from zsad.tensorrt_package import error_log, load_tensorrt
from zsad_export.build_config import builder_config
from zsad_export.build_progress import Interruption, Progress, progress_monitor
from zsad_export.built_engine import check_engine_types, engine_types, inspect_plan
from zsad_export.float_islands import ComputeTypes
from zsad_export.network_check import int8_weights, network_faults, network_types
from zsad_export.timing_cache import keep_timings, use_timings

OLDEST_MAJOR = 10
"""The first TensorRT whose networks can be strongly typed."""


@dataclass(frozen=True)
class Compiled:
    """A built engine and what it is.

    Attributes:
        plan: The engine.
        types: Types of the network that it was built from.
        int8_weights: Number of its weights that are INT8.
        inspection: What its inspector says, as JSON; None where no driver could load it.
    """

    plan: memoryview
    types: ComputeTypes
    int8_weights: int = 0
    inspection: str | None = None

    @property
    def engine_types(self) -> dict[str, int] | None:
        """Number of float tensors per type in the engine, None where nothing could load it."""
        return None if self.inspection is None else engine_types(self.inspection)


@dataclass(frozen=True)
class Build:
    """How to build.

    Attributes:
        options: What the engine is to be.
        architectures: Targets from `Compiler.architectures`; none means this machine's GPU.
        timings: File of kernel timings to use and to keep, None for none.
        progress: Is told how far the build is.
        float32: Modules that are to compute in float32 in a half-precision graph.
    """

    options: BuildOptions = field(default_factory=BuildOptions)
    architectures: Sequence[Any] = ()
    timings: Path | None = None
    progress: Progress = lambda phase, done, total: None
    float32: Collection[str] = ()


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
        self._trt = load_tensorrt(name)
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

    def compile(self, path: Path, precision: str, build: Build | None = None) -> Compiled:
        """Parse, check, build and check again the graph at `path`.

        Args:
            path: The ONNX file.
            precision: What the types of network and engine must be.
            build: How to build; None for the defaults.

        Raises:
            EngineError: The parser or the compiler refuses the graph, or network or engine are not
                of the precision they should be.
            InputError: This release lacks an option that was asked for.
        """
        build = build or Build()
        log = error_log(self._trt)
        made = self._build(log, path, precision, build)
        # Builder, network and weights are gone by now: a small board has no room for both.
        inspection = inspect_plan(self._trt, log, made.plan)
        if inspection is None and not build.architectures:
            raise EngineError(f"{self.title} cannot load what it built: {log.last_error()}")
        made = replace(made, inspection=inspection)
        check_engine_types(made.engine_types or {}, precision, self.title)
        return made

    @property
    def title(self) -> str:
        """Package and version."""
        return f"{self.name} {self.version}"

    def inspect(self, plan: bytes) -> str | None:
        """Return what the inspector says about an engine, as JSON; None where nothing loads it."""
        return inspect_plan(self._trt, error_log(self._trt), plan)

    def _builder(self, log: Any) -> Any:
        try:
            return self._trt.Builder(log)
        except (TypeError, RuntimeError):  # what the binding raises where there is no driver
            raise EngineError(f"{self.title} cannot start: {log.last_error()}") from None

    def _build(self, log: Any, path: Path, precision: str, build: Build) -> Compiled:
        builder = self._builder(log)
        flags = 1 << int(self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(flags)
        parser = self._trt.OnnxParser(network, log)
        if not parser.parse_from_file(str(path)):
            raise EngineError(f"{self.title} refuses {path.name}: {_parser_errors(parser)}")
        if faults := network_faults(self._trt, network, precision, build.float32):
            raise EngineError(
                f"{self.title} parsed {path.name} as something other than {precision}: "
                f"{'; '.join(faults)}"
            )
        config = builder_config(self._trt, builder, network, build.options, build.architectures)
        plan = self._serialize(builder, network, config, build)
        if plan is None:
            raise EngineError(f"{self.title} cannot build {path.name}: {log.last_error()}")
        weights = int8_weights(self._trt, network)
        return Compiled(memoryview(plan), network_types(self._trt, network), len(weights))

    def _serialize(self, builder: Any, network: Any, config: Any, build: Build) -> Any:
        interruption = Interruption()
        monitor = progress_monitor(self._trt, build.progress, interruption)
        if monitor is not None:
            config.progress_monitor = monitor
        timings = None if build.timings is None else use_timings(config, build.timings)
        plan = builder.build_serialized_network(network, config)
        if interruption.came:
            raise KeyboardInterrupt
        if plan is not None and build.timings is not None:
            keep_timings(timings, build.timings)
        return plan


def _parser_errors(parser: Any) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    return "; ".join(map(_describe, errors)) or "no reason given"


def _describe(error: Any) -> str:
    if not getattr(error, "node_name", lambda: "")():
        return str(error.desc())
    return f"{error.desc()} (node '{error.node_name()}', operator {error.node_operator()})"
