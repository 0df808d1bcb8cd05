"""What may judge in the place of an engine that no longer can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zsad.artifact import Artifact
from zsad.backends.table import BUILDING, ON_CPU, OPENERS
from zsad.detector import Detector
from zsad.errors import EngineError, InferenceError, InputError
from zsad.manifest import PRECISIONS, Precision
from zsad.recipe import Recipe
from zsad.recipe_match import calibration_of
from zsad.watch.golden import GoldenReplay, ReplayResult

Choice = tuple[Precision, str]
"""A graph by its precision, and the backend that runs it."""

Open = Callable[[Precision, str], Detector]
"""Opens the line's artifact with that graph on that backend."""


@dataclass(frozen=True)
class Fallback:
    """What took over, if something could.

    Attributes:
        detector: What judges now; None where nothing that a recipe covers computes the graph.
        result: Its replay of the golden frames; None without a detector.
        refused: Why each of those before it was not taken, one line each.
    """

    detector: Detector | None
    result: ReplayResult | None
    refused: tuple[str, ...] = field(default_factory=tuple)


def fallbacks(artifact: Artifact, recipes: Sequence[Recipe], current: Choice) -> list[Choice]:
    """Return what may take over, best first: only what a recipe was calibrated for.

    What every camera's recipe was calibrated for comes before what only some were: all cameras
    share one engine, and those that it does not serve have NO_RESULT. Among equals the graph that
    judged comes first, then the others, since a threshold moves less between engines than between
    graphs; of its engines those of the same kind of device first, since a line's takt was planned
    for them, and last what builds its engine when it is loaded, since nothing is judged meanwhile.

    Args:
        artifact: A verified artifact.
        recipes: What each camera is judged by; without one nothing was calibrated, and the list is
            empty.
        current: What judged.
    """
    on_cpu = current[1] in ON_CPU
    present = [precision for precision in PRECISIONS if precision in artifact.manifest.graphs]
    precisions = sorted(present, key=lambda precision: precision != current[0])
    backends = sorted(OPENERS, key=lambda n: (n in BUILDING, (n in ON_CPU) != on_cpu))
    choices = [(precision, backend) for precision in precisions for backend in backends]
    served = {each: _served(artifact, recipes, each) for each in choices if each != current}
    return sorted((each for each in served if served[each]), key=lambda each: -served[each])


def _served(artifact: Artifact, recipes: Sequence[Recipe], choice: Choice) -> int:
    graph, backend = artifact.graph(choice[0]), choice[1]
    return sum(calibration_of(each, artifact, graph, backend) is not None for each in recipes)


def open_fallback(
    artifact: Artifact,
    recipes: Sequence[Recipe],
    current: Choice,
    open_one: Open,
    replay: GoldenReplay,
) -> Fallback:
    """Open the first that may take over and is within parity here; the others are closed again.

    Opening takes seconds, and nothing can be judged meanwhile.
    """
    refused: list[str] = []
    for precision, backend in fallbacks(artifact, recipes, current):
        where = f"{precision} on {backend}"
        try:
            detector = open_one(precision, backend)
        except (InputError, InferenceError, EngineError) as error:
            refused.append(f"{where}: {error}")
            continue
        result = replay.check(detector)
        if result.ok:
            return Fallback(detector, result, tuple(refused))
        detector.close()
        refused.append(f"{where}: {result.describe()}")
    return Fallback(None, None, tuple(refused))
