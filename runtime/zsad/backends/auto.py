"""`--backend auto`: the engine that is the fastest here for a graph, measured once and remembered.

Every candidate runs the graph as it is, so that the choice changes no number by more than the
rounding that parity covers.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

import zsad
from zsad.artifact import Artifact
from zsad.backends.built_plan import PACKAGES, CandidateEngine
from zsad.backends.frame import golden_feeds, noise_frame
from zsad.backends.ort import PROVIDERS, import_onnxruntime
from zsad.backends.remembered import (
    SCHEMA,
    Choice,
    Situation,
    memory_file,
    recall,
    remember,
)
from zsad.backends.threads import Threads
from zsad.errors import InferenceError, InputError
from zsad.host import processor, usable_cores
from zsad.manifest import Manifest
from zsad.parity import LIMITS
from zsad.types import Array

if TYPE_CHECKING:
    from zsad.backends.base import Backend

LOG = logging.getLogger(__name__)

RUNS = 5
"""Timed runs of a candidate, after one that is not; the fastest counts, since what disturbs a run
only makes it slower."""

MARGIN = 1.05
"""A candidate must be this many times as fast as one before it, or else order decides: two that are
alike shall not take turns from one graph to the next."""

OPTIONAL = ("openvino",)
"""Engines that are candidates where their package is installed, which has the same name."""

AGREEMENT = 0.02
"""Largest difference of score and map from those of `cpu`, which runs everywhere, for one graph.
Rounding stays below it; a kernel that is wrong does not. Another graph of the artifact may be off
by its own and the CPU's graph's parity on top."""

_Difference = npt.NDArray[np.float64]
"""Of the score and of the map, the largest each."""

Open = Callable[[str], "Backend"]


def candidates(engines: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the backends that `auto` chooses from, by preference at the same speed.

    `ort-tensorrt` is not among them: it builds an engine at the first load, which takes minutes and
    so wants to be asked for.

    Args:
        engines: Backends for which `zsad-engine` built an engine of the graph on this device.
    """
    offered = import_onnxruntime().get_available_providers()
    cuda = ("cuda", "cuda-graph") if PROVIDERS["cuda"][0] in offered else ()
    return (*engines, *cuda, "cpu", *(name for name in OPTIONAL if _is_installed(name)))


def _is_installed(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None  # else a folder that happens to be there


def situation_of(
    graphs: Mapping[str, str],
    threads: Threads,
    engines: Mapping[str, CandidateEngine] | None = None,
) -> Situation:
    """Return what the choice depends on here and now.

    Args:
        graphs: Hash of the graph that each candidate would run, by backend.
        threads: Threads that were asked for.
        engines: What those of them would load that run a built engine.
    """
    built = engines or {}
    versions = {"zsad": zsad.__version__, "onnxruntime": str(import_onnxruntime().__version__)}
    versions |= {name: package_version(name) for name in OPTIONAL if name in graphs}
    versions |= {PACKAGES[name]: engine.version for name, engine in built.items()}
    plans = {name: engine.sha256 for name, engine in built.items()}
    return Situation(graphs, versions, processor(), usable_cores(), threads, plans)


def package_version(name: str) -> str:
    """Return a package's version, of its own saying where pip did not install it."""
    try:
        return version(name)
    except PackageNotFoundError:
        pass
    try:
        return str(getattr(importlib.import_module(name), "__version__", "unknown"))
    except ImportError:
        return "unknown"  # it fails as a candidate, and says why there


def open_fastest(
    artifact: Artifact,
    situation: Situation,
    open_one: Open,
    clock: Callable[[], float] = time.perf_counter,
) -> Backend:
    """Open the fastest of the situation's candidates.

    A choice that is remembered is taken without measuring, unless a candidate that failed then
    works now, or the chosen one no longer opens. A choice that cannot be remembered is taken all
    the same.

    Args:
        artifact: A verified artifact.
        situation: The candidates and what their speed depends on.
        open_one: Opens a backend by its name.
        clock: Seconds, from any beginning.

    Raises:
        InputError: No candidate can be opened.
        InferenceError: None runs.
    """
    known = recall(situation)
    if known is not None and not _works_now(known.failed, artifact, open_one, clock):
        try:
            opened = open_one(known.backend)
        except (InputError, InferenceError) as error:
            LOG.warning("%s: measuring all backends again", error)
        else:
            LOG.info("auto: %s, remembered in %s", known.describe(), memory_file(situation))
            return opened
    return open_one(_choose(situation, open_one, artifact, clock).backend)


def _works_now(
    failed: tuple[str, ...], artifact: Artifact, open_one: Open, clock: Callable[[], float]
) -> bool:
    return bool(failed and _measure_all(failed, open_one, _feeds(artifact), clock)[0])


def _feeds(artifact: Artifact) -> Mapping[str, Array]:
    """A frame that parity holds on, if the artifact has one."""
    return next(golden_feeds(artifact), None) or noise_frame(artifact)


def _choose(
    situation: Situation, open_one: Open, artifact: Artifact, clock: Callable[[], float]
) -> Choice:
    LOG.info("auto: measuring %s, once for %s", ", ".join(situation.graphs), _once_for(situation))
    runs, errors = _measure_all(situation.graphs, open_one, _feeds(artifact), clock)
    wrong = _wrong(runs, _limits(artifact.manifest, situation.graphs))
    seconds = {name: run.seconds for name, run in runs.items() if name not in wrong}
    if not seconds:
        raise errors["cpu"]
    for name, error in errors.items():
        LOG.warning("%s; going on without %s", error, name)
    for name in wrong:
        LOG.warning("%s computes something else than cpu here; going on without it", name)
    limit = MARGIN * min(seconds.values())
    fastest = next(name for name, found in seconds.items() if found <= limit)
    ms = {name: 1e3 * found for name, found in seconds.items()}
    choice = Choice(SCHEMA, situation, fastest, ms, tuple(errors), tuple(wrong))
    try:
        LOG.info("auto: %s, remembered in %s", choice.describe(), remember(choice))
    except InputError as error:
        LOG.warning("auto: %s, to be measured again at every start: %s", choice.describe(), error)
    return choice


def _once_for(situation: Situation) -> str:
    return "this device, graph and engine" if situation.engines else "this device and graph"


@dataclass(frozen=True)
class _Run:
    """Seconds of the fastest run, and what it gave."""

    seconds: float
    outputs: Mapping[str, Array]


def _limits(manifest: Manifest, graphs: Mapping[str, str]) -> dict[str, _Difference]:
    """Return how far each may be off `cpu`, given the graph that each runs."""
    exact = graphs["cpu"]
    rounding = np.full(2, AGREEMENT)
    return {
        name: rounding
        if graph == exact
        else rounding + _parity(manifest, graph) + _parity(manifest, exact)
        for name, graph in graphs.items()
    }


def _parity(manifest: Manifest, graph: str) -> _Difference:
    """Return how far a graph may be off the reference; what the user allowed it counts too."""
    precision = next(p for p, file in manifest.graphs.items() if file.sha256 == graph)
    limits, found = LIMITS[precision], manifest.parity.get(precision)
    allowed = np.array([limits.score_max_abs, limits.map_max_abs])
    known = allowed if found is None else np.array([found.score_max_abs, found.map_max_abs])
    largest: _Difference = np.maximum(allowed, known)
    return largest


def _wrong(runs: Mapping[str, _Run], limits: Mapping[str, _Difference]) -> list[str]:
    """Return those that give something else than `cpu`, or no numbers."""
    if "cpu" not in runs:
        return []
    expected = runs["cpu"].outputs
    others = [name for name in runs if name != "cpu"]
    return [n for n in others if not np.all(_apart(runs[n].outputs, expected) <= limits[n])]


def _apart(found: Mapping[str, Array], expected: Mapping[str, Array]) -> _Difference:
    # NumPy's maximum, unlike Python's, keeps a NaN.
    names = ("score", "anomaly_map")
    return np.array([np.abs(np.subtract(found[k], expected[k])).max() for k in names], np.float64)


def _measure_all(
    names: Iterable[str],
    open_one: Open,
    feeds: Mapping[str, Array],
    clock: Callable[[], float],
) -> tuple[dict[str, _Run], dict[str, InputError | InferenceError]]:
    """Return how those ran that work, and the errors of those that do not."""
    runs: dict[str, _Run] = {}
    errors: dict[str, InputError | InferenceError] = {}
    for name in names:
        try:
            # One at a time, closed before the next: a small board holds no two of them.
            with open_one(name) as backend:
                runs[name] = _run(backend, feeds, clock)
        except (InputError, InferenceError) as error:
            errors[name] = error
    return runs, errors


def _run(backend: Backend, feeds: Mapping[str, Array], clock: Callable[[], float]) -> _Run:
    outputs = backend.infer(feeds)
    found = []
    for _ in range(RUNS):
        start = clock()
        backend.infer(feeds)
        found.append(clock() - start)
    return _Run(min(found), outputs)
