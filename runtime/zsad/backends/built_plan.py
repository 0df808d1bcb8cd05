"""Which of the engines that were built on this device is the one of a graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zsad.arithmetic import ARITHMETIC
from zsad.artifact import Artifact
from zsad.device import Gpu, find_gpu
from zsad.engine_cache import EngineRecord, cache_root, cached_engines, load_engine
from zsad.errors import InputError
from zsad.manifest import Precision
from zsad.tensorrt_package import NATIVE, RTX, load_tensorrt

LOG = logging.getLogger(__name__)

PACKAGES: Mapping[str, str] = {
    "tensorrt": NATIVE,
    "tensorrt-graph": NATIVE,
    "tensorrt-tf32": NATIVE,
    "tensorrt-rtx": RTX,
    "tensorrt-rtx-tf32": RTX,
}
"""The TensorRT package behind a backend."""

CHOSEN_BY_AUTO = ("tensorrt", "tensorrt-rtx")
"""Those of them that `auto` may take. TF32 is another arithmetic than the graph's, and a CUDA graph
is captured anew when the batch changes, which no measurement of single frames shows."""


@dataclass(frozen=True)
class CandidateEngine:
    """An engine that a backend would load.

    Attributes:
        sha256: Hash of its file.
        version: Of the TensorRT package that would load it.
    """

    sha256: str
    version: str


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
    root = cache_root()
    damage: InputError | None = None
    for record in _engines_of(artifact, precision, name):
        if record.key.runs(package, version, gpu):
            try:
                return record, load_engine(record, root)
            except InputError as error:  # an older one may be whole
                damage = damage or error
    if damage is not None:
        raise damage
    graph = artifact.graph(precision)
    rtx = f" --rtx --sm {gpu.sm}" if package == RTX else ""
    tf32 = " --tf32" if _rounds(name) else ""
    raise InputError(
        f"{root} holds no engine of {graph.file} for {name} on {gpu} and {package} {version}: "
        f"run zsad-engine {artifact.path} --{precision.replace('_', '-')}{rtx}{tf32}"
    )


def built_engines(
    artifact: Artifact, graph_of: Callable[[str], Precision], batch: int
) -> dict[str, CandidateEngine]:
    """Return the engines that `auto` may choose from, by backend.

    One that was built for another release or GPU is among them where no other is: whoever opens it
    is told so, and what builds the right one.

    Args:
        artifact: A verified artifact.
        graph_of: The graph that a backend would run.
        batch: Images in one run at most; an engine for fewer is left out.
    """
    found = {name: _engines_of(artifact, graph_of(name), name) for name in CHOSEN_BY_AUTO}
    found = {name: records for name, records in found.items() if records}
    if not found:
        return {}
    try:
        gpu = find_gpu()
    except InputError:
        return {}
    engines: dict[str, CandidateEngine] = {}
    for name, records in found.items():
        try:
            engines[name] = _candidate(PACKAGES[name], records, batch, gpu)
        except InputError as error:
            LOG.info("auto: without %s: %s", name, error)
    return engines


def _candidate(package: str, records: list[EngineRecord], batch: int, gpu: Gpu) -> CandidateEngine:
    version = str(load_tensorrt(package).__version__)
    fitting = [record for record in records if record.key.runs(package, version, gpu)]
    record = (fitting or records)[0]
    if (most := record.key.options.max_batch) < batch:
        raise InputError(
            f"its engine takes {most} images a run and there may be {batch}: "
            f"zsad-engine ... --max-batch {batch} builds another"
        )
    return CandidateEngine(record.sha256, version)


def _engines_of(artifact: Artifact, precision: Precision, name: str) -> list[EngineRecord]:
    """Return what was built of a graph for a backend on any device, the newest first."""
    wanted = (artifact.graph(precision).sha256, precision, PACKAGES[name], _rounds(name))
    return [
        record
        for record in cached_engines(cache_root())
        if (key := record.key)
        and (key.graph_sha256, key.precision, key.compiler, key.options.tf32) == wanted
    ]


def _rounds(name: str) -> bool:
    return ARITHMETIC.get(name) == "tf32"
