"""The measurement behind `parity.py`, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import machine
from parity_verdicts import Verdicts, count_verdicts
from zsad.arithmetic import ARITHMETIC, Arithmetic
from zsad.artifact import Artifact
from zsad.backends import Backend, open_backend
from zsad.data import Dataset
from zsad.detector import Detector
from zsad.errors import InputError
from zsad.evaluate import Predictor
from zsad.manifest import Precision
from zsad.parity import AUROC_BUDGETS, LIMITS, parity_record
from zsad.parity_record import ParityRecord
from zsad.recipe import Calibration, Recipe
from zsad.scores import ScoreKind
from zsad.watch.golden import GoldenReplay, scores_of
from zsad_export.labelled import LabelledReference

SCHEMA = 1
Key = tuple[str, Arithmetic | None]
"""A graph's precision, and what an engine computes in where that is not what the graph says."""

REFERENCE = "fp32 on the CPU"
"""What labelled images are held against where there is no checkpoint."""


@dataclass(frozen=True)
class Subjects:
    """What is compared; without a recipe no verdict is."""

    artifact: Artifact
    precisions: tuple[Precision, ...]
    backends: tuple[str, ...]
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Row:
    """One graph on one engine.

    Attributes:
        name: Precision and what ran it.
        precision: The graph.
        is_within_limits: Whether every golden frame is within the limits of the precision.
        parity: The differences on golden frames and, where there are some, on labelled images.
        verdicts: Those of the labelled images, else of the golden frames, with a recipe.
    """

    name: str
    precision: str
    is_within_limits: bool
    parity: ParityRecord
    verdicts: Verdicts | None

    @property
    def is_over(self) -> bool:
        """Whether something is proven to be too far off."""
        data = self.parity.data
        return not self.is_within_limits or (data is not None and data.verdict == "over")


@dataclass(frozen=True)
class Report:
    """One run of the benchmark.

    Attributes:
        subject: The artifact: name, hash, method, backbone.
        reference: What labelled images were held against; golden frames are held against PyTorch
            as it was at export.
        rows: One per graph and engine.
        machine: What it ran on.
    """

    schema: int
    subject: Mapping[str, str]
    reference: str
    rows: tuple[Row, ...]
    machine: Mapping[str, Any]


def measure(
    subjects: Subjects,
    dataset: Dataset | None,
    ckpt: Path | None,
    progress: Callable[[str], None] = lambda step: None,
) -> Report:
    """Hold every graph on every engine against its reference.

    Raises:
        InputError: An engine cannot be had, the recipe covers no graph of the artifact, or the
            checkpoint belongs to another one.
    """
    artifact = subjects.artifact
    calibrations = _calibrations(artifact, subjects.recipe)
    with ExitStack() as stack:
        labelled = None
        if dataset is not None:
            progress(f"judging {len(dataset)} images of {dataset.name} with the reference")
            predictor = stack.enter_context(_reference(artifact, ckpt))
            labelled = stack.enter_context(
                LabelledReference(dataset, predictor, "the reference", _kind(calibrations))
            )
        rows = tuple(_rows(subjects, labelled, ckpt is None, calibrations, progress))
    return Report(
        schema=SCHEMA,
        subject={
            "artifact": artifact.path.resolve().name,
            "artifact_sha256": artifact.sha256,
            "method": artifact.manifest.method.name,
            "backbone": artifact.manifest.backbone.name,
        },
        reference=REFERENCE if ckpt is None else f"{ckpt.name} in PyTorch",
        rows=rows,
        machine=machine.describe(),
    )


@contextmanager
def _reference(artifact: Artifact, ckpt: Path | None) -> Iterator[Predictor]:
    """Give the reference of labelled images; its engine, where it has one, ends with the block."""
    if ckpt is None:
        with Detector(artifact, open_backend(artifact, "fp32", "cpu")) as detector:
            yield detector
        return
    from zsad_train.predictor import CheckpointPredictor

    checkpoint = CheckpointPredictor.load(ckpt)
    if checkpoint.spec.sha256 != artifact.manifest.preprocess.sha256:
        raise InputError(f"{ckpt} is preprocessed unlike the artifact: was it made from it?")
    yield checkpoint


def _rows(
    subjects: Subjects,
    labelled: LabelledReference | None,
    fp32_is_reference: bool,
    calibrations: Mapping[Key, Calibration],
    progress: Callable[[str], None],
) -> Iterator[Row]:
    for precision in subjects.precisions:
        for backend in subjects.backends:
            progress(f"comparing {precision} on {backend}")
            with open_backend(subjects.artifact, precision, backend) as engine:
                is_reference = fp32_is_reference and (precision, engine.name) == ("fp32", "cpu")
                against = None if is_reference else labelled
                yield _row(subjects.artifact, engine, against, calibrations)


def _row(
    artifact: Artifact,
    engine: Backend,
    labelled: LabelledReference | None,
    calibrations: Mapping[Key, Calibration],
) -> Row:
    precision, name = engine.precision, f"{engine.precision} on {engine.provider}"
    golden = GoldenReplay(artifact, LIMITS[precision]).run(engine)
    parity = golden.parity
    record = parity_record(parity, golden.reference, engine.provider, "benchmarks/parity.py")
    key = (precision, ARITHMETIC.get(engine.name))
    calibration = _calibration_for(artifact, key, calibrations)
    verdicts = None
    if calibration is not None:
        kind = calibration.score_kind
        scores = (scores_of(outputs, kind) for outputs in (golden.reference, golden.found))
        verdicts = count_verdicts(calibration.threshold, *scores)
    if labelled is not None:
        compared = labelled.compare(
            Detector(artifact, engine), name, LIMITS[precision], AUROC_BUDGETS[precision]
        )
        record = replace(record, data=compared.record)
        if calibration is not None:
            verdicts = count_verdicts(
                calibration.threshold, compared.reference_scores, compared.scores
            )
    return Row(name, precision, parity.passed, record, verdicts)


def _calibrations(artifact: Artifact, recipe: Recipe | None) -> dict[Key, Calibration]:
    """Return what the recipe knows of each precision in each arithmetic.

    Raises:
        InputError: That is nothing, or its graphs are judged by different kinds of scores.
    """
    if recipe is None:
        return {}
    manifest = artifact.manifest
    known = {
        (precision, arithmetic): recipe.calibration_for(
            graph.sha256, manifest.preprocess.sha256, manifest.words_sha256, arithmetic
        )
        for precision, graph in manifest.graphs.items()
        for arithmetic in (None, *ARITHMETIC.values())
    }
    found = {key: each for key, each in known.items() if each is not None}
    if not found:
        raise InputError("the recipe covers no graph of the artifact: run zsad-calibrate with it")
    if recipe.inspection.needs_map or any(each.types for each in found.values()):
        raise InputError(
            "the recipe judges by a region, tiles or types, and engines are compared on whole"
            " frames: give one that zsad-calibrate made without"
        )
    if len({each.score_kind for each in found.values()}) > 1:
        raise InputError("the recipe judges by several kinds of scores: calibrate all with one")
    return found


def _kind(calibrations: Mapping[Key, Calibration]) -> ScoreKind:
    return next((each.score_kind for each in calibrations.values()), "graph")


def _calibration_for(
    artifact: Artifact, wanted: Key, calibrations: Mapping[Key, Calibration]
) -> Calibration | None:
    """Return the wanted calibration, else the one nearest to it."""
    default = artifact.manifest.default_precision

    def distance(key: Key) -> tuple[bool, bool, bool, str]:
        precision, arithmetic = key
        return precision != wanted[0], arithmetic != wanted[1], precision != default, precision

    return calibrations[min(calibrations, key=distance)] if calibrations else None
