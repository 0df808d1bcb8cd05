"""Which of the engines that were built on this device is the one of a graph."""

from __future__ import annotations

from zsad.arithmetic import ARITHMETIC
from zsad.artifact import Artifact
from zsad.device import Gpu
from zsad.engine_cache import EngineRecord, cache_root, cached_engines, load_engine
from zsad.errors import InputError
from zsad.manifest import Precision
from zsad.tensorrt_package import RTX


def find_plan(
    artifact: Artifact, precision: Precision, name: str, package: str, version: str, gpu: Gpu
) -> tuple[EngineRecord, bytes]:
    """Return the newest whole engine of a graph, with its record.

    Args:
        artifact: A verified artifact.
        precision: The graph.
        name: The backend, which says whether products may round to TF32.
        package: The TensorRT package that is to run it.
        version: That package's version.
        gpu: The GPU that it is to run on.

    Raises:
        InputError: There is none, or all there are were altered.
    """
    graph, root = artifact.graph(precision), cache_root()
    wanted = (graph.sha256, precision, ARITHMETIC.get(name) == "tf32")
    damage: InputError | None = None
    for record in cached_engines(root):
        key = record.key
        found = (key.graph_sha256, key.precision, key.options.tf32)
        if found == wanted and key.runs(package, version, gpu):
            try:
                return record, load_engine(record, root)
            except InputError as error:  # an older one may be whole
                damage = damage or error
    if damage is not None:
        raise damage
    rtx = f" --rtx --sm {gpu.sm}" if package == RTX else ""
    tf32 = " --tf32" if wanted[-1] else ""
    raise InputError(
        f"{root} holds no engine of {graph.file} for {name} on {gpu} and {package} {version}: "
        f"run zsad-engine {artifact.path} --{precision.replace('_', '-')}{rtx}{tf32}"
    )
