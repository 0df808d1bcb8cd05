"""A stored verdict computed again, from the frame that was kept and the artifact it names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from zsad.artifact import Artifact
from zsad.detector import Detector
from zsad.errors import InputError
from zsad.images import frame_sha256, read_image
from zsad.ledger.rejudge import Replay, ViewReplay, calibration_of_record, part_replay, rejudge
from zsad.line.record import VerdictRecord, ViewRecord
from zsad.precision import PRECISIONS, Precision
from zsad.recipe import Recipe, read_recipe
from zsad.schema import read_json, sha256_of
from zsad.types import ImageU8


def replay(
    record: VerdictRecord,
    root: Path,
    artifact: Path,
    recipes: Sequence[Path] = (),
    backend: str | None = None,
) -> Replay:
    """Compute a verdict again.

    On the backend of the record the scores have to be equal to the last bit. An engine may round
    differently by the number of frames in a run, which the record does not hold, so a view that is
    not equal by itself is tried in runs of up to eight. What came before a frame (a debounce) is
    not computed: the thresholds are those that the view was compared with, and of such a part only
    the views are.

    Args:
        record: From the ledger.
        root: The ledger's folder.
        artifact: The artifact that the record names by its hash; another is refused.
        recipes: The recipes that its views name by their hashes, in any order; others may be among
            them.
        backend: What is to run the graph; None is the backend of the record.

    Raises:
        InputError: The artifact is not that of the record, a recipe is missing, or no view can be
            computed.
        ParityError: The record's threshold is none that its recipe can give.
    """
    able = dict(_replayable(record))
    skipped = tuple(why for why in able.values() if isinstance(why, str))
    views = {index: view for index, view in able.items() if isinstance(view, ViewRecord)}
    if not views:
        raise InputError(f"verdict {record.seq} cannot be replayed: {'; '.join(skipped)}")
    known = _recipes(record.seq, views.values(), recipes)
    frames = {index: _frame(record.seq, view, root) for index, view in views.items()}
    found: list[ViewReplay] = []
    for name, precision, indices in _engines(record.seq, views, Artifact.open(artifact)):
        with Detector.load(artifact, None, precision, backend or name) as engine:
            for i in indices:
                detector = Detector(engine.artifact, engine.backend, known[views[i].recipe])
                detector.calibration = calibration_of_record(record.seq, views[i], detector)
                found.append(rejudge(detector, i, views[i], frames[i]))
    found.sort(key=lambda each: each.view)
    return Replay(tuple(found), skipped, part_replay(record, found, _is_debounced(record, known)))


def _is_debounced(record: VerdictRecord, recipes: Mapping[str | None, Recipe | None]) -> bool:
    held = any(each is not None and each.debounce is not None for each in recipes.values())
    return held and not record.triggered


def _engines(
    seq: int, views: Mapping[int, ViewRecord], artifact: Artifact
) -> list[tuple[str, Precision, list[int]]]:
    """Return backend and precision of each engine that judged, and the indices of its views."""
    engines: dict[tuple[str, Precision], list[int]] = {}
    for index, view in views.items():
        if artifact.sha256 != view.artifact:
            raise InputError(
                f"verdict {seq} was reached with artifact {view.artifact[:12]}, {artifact.path} is"
                f" {artifact.sha256[:12]}: name that one"
            )
        engines.setdefault((view.backend, _precision(seq, view, artifact)), []).append(index)
    return [(name, precision, indices) for (name, precision), indices in engines.items()]


def _replayable(record: VerdictRecord) -> Iterator[tuple[int, ViewRecord | str]]:
    if not record.views:
        yield 0, "it has no view"
    for index, view in enumerate(record.views):
        if view.score is None:
            yield index, f"view {index} ({view.camera}) had no result: {view.reason}"
        elif view.snapshot is None:
            yield index, f"no frame was kept of view {index} ({view.camera})"
        else:
            yield index, view


def _frame(seq: int, view: ViewRecord, root: Path) -> ImageU8:
    assert view.snapshot is not None
    path = root / view.snapshot
    if not path.is_file():
        raise InputError(f"the frame {view.snapshot} of verdict {seq} is gone: retention took it")
    frame = read_image(path)
    if frame_sha256(frame) != view.frame_sha256:
        raise InputError(f"{path} is not the frame that was judged: it was altered")
    return frame


def _recipes(
    seq: int, views: Collection[ViewRecord], paths: Sequence[Path]
) -> dict[str | None, Recipe | None]:
    """Return the recipe of each view by its hash, and none by none."""
    given: dict[str, Recipe] = {}
    for path in paths:
        recipe = read_recipe(path)
        # A recipe that was written before a field was added is known by either text.
        given |= dict.fromkeys((sha256_of(recipe), sha256_of(read_json(path, "recipe"))), recipe)
    named = {view.recipe: view.camera for view in views}
    missing = [
        f"{sha[:12]} ({named[sha]})" for sha in named if sha is not None and sha not in given
    ]
    if missing:
        files = "".join(f"; {path} is {sha256_of(read_recipe(path))[:12]}" for path in paths)
        raise InputError(
            f"verdict {seq} was reached with recipe {' and '.join(missing)}: add --recipe FILE"
            + files
        )
    if paths and set(named) == {None}:
        raise InputError(f"verdict {seq} was reached without a recipe: leave --recipe out")
    return {sha: None if sha is None else given[sha] for sha in named}


def _precision(seq: int, view: ViewRecord, artifact: Artifact) -> Precision:
    for precision in PRECISIONS:
        graph = artifact.manifest.graphs.get(precision)
        if graph is not None and graph.sha256 == view.graph:
            return precision
    raise InputError(f"verdict {seq} was reached with graph {view.graph[:12]}, which is not here")
