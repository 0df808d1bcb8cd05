"""A stored verdict computed again, from the frame that was kept and the artifact it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    recipe: Path | None,
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
        recipe: The recipe that the record names by its hash, None where it names none.
        backend: What is to run the graph; None is the backend of the record.

    Raises:
        InputError: Artifact or recipe are not those of the record, or no view can be computed.
        ParityError: The record's threshold is none that its recipe can give.
    """
    able = dict(_replayable(record))
    skipped = tuple(why for why in able.values() if isinstance(why, str))
    views = {index: view for index, view in able.items() if isinstance(view, ViewRecord)}
    if not views:
        raise InputError(f"verdict {record.seq} cannot be replayed: {'; '.join(skipped)}")
    for view in views.values():
        _check_recipe(record.seq, view, recipe)
    known = None if recipe is None else read_recipe(recipe)
    frames = {index: _frame(record.seq, view, root) for index, view in views.items()}
    found: list[ViewReplay] = []
    for name, precision, indices in _engines(record.seq, views, Artifact.open(artifact)):
        with Detector.load(artifact, known, precision, backend or name) as detector:
            for i in indices:
                detector.calibration = calibration_of_record(record.seq, views[i], detector)
                found.append(rejudge(detector, i, views[i], frames[i]))
    found.sort(key=lambda each: each.view)
    return Replay(tuple(found), skipped, part_replay(record, found, _is_debounced(record, known)))


def _is_debounced(record: VerdictRecord, recipe: Recipe | None) -> bool:
    return not record.triggered and recipe is not None and recipe.debounce is not None


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


def _check_recipe(seq: int, view: ViewRecord, path: Path | None) -> None:
    if path is None:
        if view.recipe is not None:
            raise InputError(
                f"verdict {seq} was reached with recipe {view.recipe[:12]}: add --recipe FILE"
            )
        return
    # A recipe that was written before a field was added is known by either text.
    hashes = {sha256_of(read_recipe(path)), sha256_of(read_json(path, "recipe"))}
    if view.recipe not in hashes:
        known = "without a recipe" if view.recipe is None else f"with recipe {view.recipe[:12]}"
        raise InputError(f"verdict {seq} was reached {known}, {path} is {min(hashes)[:12]}")


def _precision(seq: int, view: ViewRecord, artifact: Artifact) -> Precision:
    for precision in PRECISIONS:
        graph = artifact.manifest.graphs.get(precision)
        if graph is not None and graph.sha256 == view.graph:
            return precision
    raise InputError(f"verdict {seq} was reached with graph {view.graph[:12]}, which is not here")
