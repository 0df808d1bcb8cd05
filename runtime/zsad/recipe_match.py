"""What of a recipe serves a graph on a backend, and why nothing of it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zsad.arithmetic import ARITHMETIC
from zsad.artifact import Artifact
from zsad.manifest import GraphFile
from zsad.recipe import Calibration, Recipe


def calibration_of(
    recipe: Recipe, artifact: Artifact, graph: GraphFile, backend: str
) -> Calibration | None:
    """Return the calibration of exactly this graph, backend, preprocessing, words and types.

    Args:
        recipe: The recipe; a calibration with another region or tiles than it has now is none.
        artifact: The artifact of the graph.
        graph: The graph that runs.
        backend: Name of what runs it, which says what it computes in.
    """
    manifest = artifact.manifest
    found = recipe.calibration_for(
        graph.sha256, manifest.preprocess.sha256, manifest.words_sha256, ARITHMETIC.get(backend)
    )
    if found is None or not found.types:
        return found
    named = tuple(each.name for each in found.types)
    return found if named == manifest.words.types else None


def refusal_of(recipe: Recipe, artifact: Artifact, graph: GraphFile, backend: str) -> str:
    """Return why `calibration_of` finds none, and what helps."""
    manifest, remedy = artifact.manifest, "run zsad-calibrate with this artifact"
    mine = [c for c in recipe.calibrations if c.graph_sha256 == graph.sha256]
    computed = [c for c in mine if c.arithmetic == ARITHMETIC.get(backend)]
    if recipe.preprocess_sha256 != manifest.preprocess.sha256:
        what = "another preprocessing"
    elif recipe.words_sha256 != manifest.words_sha256:
        what = "other defect types than the artifact has now"
    elif not mine:
        what = f"other graphs than {graph.file} ({graph.sha256[:12]})"
    elif not computed:
        what = f"{graph.file} on a backend that rounds otherwise than {backend}"
        remedy += f" and --backend {backend}"
    elif all(c.inspection_sha256 != recipe.inspection.sha256 for c in computed):
        what = "another region or other tiles than it has now"
    else:
        what = "other defect types than the artifact has now"
    return f"the recipe was calibrated for {what}: {remedy}"


def covered_graphs(recipe: Recipe, artifact: Artifact, backend: str) -> set[str]:
    """Return the hashes of the artifact's graphs that the recipe serves on a backend."""
    graphs = artifact.manifest.graphs.values()
    return {g.sha256 for g in graphs if calibration_of(recipe, artifact, g, backend) is not None}


def covered_by_most(recipes: Sequence[Recipe], artifact: Artifact, backend: str) -> set[str]:
    """Return the hashes of the graphs that serve the most of several recipes on a backend.

    Args:
        recipes: What is judged by, one for each camera that has one.
        artifact: The artifact of the graphs.
        backend: Name of what runs them.
    """
    counts = Counter(sha for each in recipes for sha in covered_graphs(each, artifact, backend))
    return {sha for sha, count in counts.items() if count == max(counts.values())}
