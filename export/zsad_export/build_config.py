"""How TensorRT is told to build: profile, memory, search, portability, progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zsad.engine_cache import BuildOptions
from zsad.errors import InputError
from zsad.text_table import TEXT_TABLE
from zsad.words import MAX_TYPES
from zsad_export.graph_names import INPUT

_TYPICAL_TYPES = 8
"""Number of defect types that engines are tuned for."""


def builder_config(
    trt: Any, builder: Any, network: Any, options: BuildOptions, architectures: Sequence[Any] = ()
) -> Any:
    """Return the configuration of a build.

    Args:
        trt: The package.
        builder: Its builder.
        network: The parsed network.
        options: What the engine is to be.
        architectures: What RTX compiles for; none means this machine's GPU.

    Raises:
        InputError: This release lacks something that `options` asks for.
    """
    config = builder.create_builder_config()
    config.add_optimization_profile(_profile(builder, network, options.max_batch))
    # Without it the inspector names layers and not their types, which are checked after the build.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # it is set from the start
    if options.version_compatible:
        config.set_flag(_known(trt.BuilderFlag, "VERSION_COMPATIBLE", "--version-compatible"))
    if options.hardware_compatible:
        levels = getattr(trt, "HardwareCompatibilityLevel", None)
        level = _known(levels, "AMPERE_PLUS", "--hardware-compatible")
        config.hardware_compatibility_level = level
    if architectures:
        config.num_compute_capabilities = len(architectures)
        for index, architecture in enumerate(architectures):
            config.set_compute_capability(architecture, index)
    return config


def _known(members: Any, name: str, flag: str) -> Any:
    if not hasattr(members, name):
        raise InputError(f"this TensorRT does not know {flag}: leave it out")
    return getattr(members, name)


def _profile(builder: Any, network: Any, max_batch: int) -> Any:
    # Words change without a new engine, so it takes any number of them.
    sizes = {INPUT: (1, 1, max_batch), TEXT_TABLE: (2, 1 + _TYPICAL_TYPES, 1 + MAX_TYPES)}
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        rest = tuple(tensor.shape)[1:]
        profile.set_shape(tensor.name, *((size, *rest) for size in sizes[tensor.name]))
    return profile
