"""What every inference engine offers, and how one is chosen for an artifact."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Protocol, cast

from zsad.artifact import Artifact
from zsad.backends import auto
from zsad.backends.built_plan import built_engines
from zsad.backends.table import BACKENDS, ON_CPU, OPENERS
from zsad.backends.threads import Threads
from zsad.errors import InputError
from zsad.host import saturates_int8
from zsad.manifest import Manifest, Precision, TensorSpec
from zsad.types import Array

LOG = logging.getLogger(__name__)


class Backend(Protocol):
    """One graph of an artifact, loaded into an inference engine.

    A backend belongs to the thread that opened it. Leaving its context frees the engine.
    """

    @property
    def name(self) -> str:
        """The name it was asked for by: one of `BACKENDS`, never `auto`."""

    @property
    def provider(self) -> str:
        """What really runs the graph, in the engine's own words."""

    @property
    def precision(self) -> Precision:
        """The precision of the graph that is loaded."""

    @property
    def engine_sha256(self) -> str | None:
        """SHA-256 of the engine's file; None where the graph itself is what was loaded."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The graph's inputs."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The graph's outputs."""

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once; arrays are keyed by the names of inputs and outputs.

        Raises:
            InferenceError: The engine failed while it ran.
        """

    def close(self) -> None:
        """Free the engine; closing twice does no harm."""

    def __enter__(self) -> Backend: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_backend(
    artifact: Artifact,
    precision: Precision | None = None,
    backend: str = "auto",
    threads: int | Threads | None = None,
    calibrated: Collection[str] = (),
    batch: int = 1,
) -> Backend:
    """Load a graph of an artifact into an engine and hold it against the manifest.

    Args:
        artifact: A verified artifact.
        precision: The graph to load; None chooses, see `choose_precision`.
        backend: One of `BACKENDS`.
        threads: Threads of a CPU engine; None leaves the number to the engine, and they spin.
        calibrated: Hashes of the graphs that a recipe covers, preferred when choosing.
        batch: Images in one run at most, as far as that is known; `auto` takes no engine that was
            built for fewer.

    Raises:
        InputError: The backend is unknown or cannot be had, or the graph cannot be loaded or is
            not the one that the manifest describes.
    """
    if backend not in BACKENDS:
        raise InputError(f"unknown backend '{backend}': choose one of {', '.join(BACKENDS)}")
    used = Threads.of(threads)
    if used.count is not None and used.count < 1:
        raise InputError(f"threads must be at least 1, found {used.count}")
    if precision is not None:
        artifact.graph(precision)

    def graph_of(name: str) -> Precision:
        return precision or choose_precision(artifact.manifest, name, calibrated)

    def open_one(name: str) -> Backend:
        return _open(artifact, graph_of(name), name, used)

    engines = built_engines(artifact, graph_of, batch) if backend == "auto" else {}
    names = auto.candidates(engines) if backend == "auto" else (backend,)
    if len(names) == 1:
        opened = open_one(names[0])
    else:
        graphs = {name: artifact.graph(graph_of(name)).sha256 for name in names}
        situation = auto.situation_of(graphs, used, engines)
        opened = auto.open_fastest(artifact, situation, open_one)
    _warn_of_saturation(opened)
    return opened


def choose_precision(manifest: Manifest, name: str, calibrated: Collection[str] = ()) -> Precision:
    """Return the graph to load when the user names none.

    It is the manifest's default, except that a CPU takes the FP32 graph over the FP16 one: FP16 on
    a CPU is emulated, which is slower and no more exact. Where a recipe covers only some graphs,
    the first of those is taken, since any other could give no verdict.

    Args:
        manifest: The artifact's manifest.
        name: The backend, one of `BACKENDS`.
        calibrated: Hashes of the graphs that a recipe covers.
    """
    order = [manifest.default_precision, *sorted(manifest.graphs)]
    if name in ON_CPU and order[0] == "fp16" and "fp32" in manifest.graphs:
        order.insert(0, "fp32")
    covered = [p for p in order if manifest.graphs[p].sha256 in calibrated]
    return cast(Precision, (covered or order)[0])


def _open(artifact: Artifact, precision: Precision, name: str, threads: Threads) -> Backend:
    opened = OPENERS[name](artifact, precision, name, threads)
    try:
        _check_contract(opened, artifact)
    except InputError:
        opened.close()
        raise
    return opened


def _warn_of_saturation(opened: Backend) -> None:
    if opened.name in ON_CPU and opened.precision.startswith("int8") and saturates_int8():
        LOG.warning(
            "this processor has no VNNI, so that INT8 products may saturate: scores and maps can be"
            " further off than where the graph was exported; calibrate on this machine, or use"
            " another graph (docs/int8.md)"
        )


def _check_contract(backend: Backend, artifact: Artifact) -> None:
    manifest = artifact.manifest
    where = f"{artifact.path}: the {backend.precision} graph"
    for kind, found, listed in (
        ("input", backend.inputs, manifest.inputs),
        ("output", backend.outputs, manifest.outputs),
    ):
        have = {spec.name: spec for spec in found}
        for spec in listed:
            if spec.name not in have:
                raise InputError(f"{where} has no {kind} '{spec.name}': export it again")
            if not _same(have[spec.name], spec):
                raise InputError(
                    f"{where} has {kind} {_text(have[spec.name])}, the manifest says"
                    f" {_text(spec)}: export it again"
                )
    if unknown := {spec.name for spec in backend.inputs} - {spec.name for spec in manifest.inputs}:
        raise InputError(f"{where} asks for an input '{min(unknown)}' that the manifest lacks")


def _same(found: TensorSpec, listed: TensorSpec) -> bool:
    if found.dtype != listed.dtype or len(found.shape) != len(listed.shape):
        return False
    # A symbolic dimension has no agreed name, but it must not meet a fixed one.
    pairs = zip(found.shape, listed.shape, strict=True)
    return all(a == b or (isinstance(a, str) and isinstance(b, str)) for a, b in pairs)


def _text(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.dtype}({', '.join(map(str, spec.shape))})"
