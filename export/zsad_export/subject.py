"""What `zsad-eval` evaluates: an artifact, or a checkpoint. Imports torch only for the latter."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsad.detector import Detector
from zsad.errors import InputError, MissingExtraError
from zsad.evaluate import Predictor
from zsad.manifest import Precision
from zsad.schema import sha256_file
from zsad_train.methods import reading_mark


@dataclass(frozen=True)
class Subject:
    """A predictor and what it is, as plain JSON values without any machine's paths."""

    predictor: Predictor
    record: Mapping[str, Any]


@dataclass(frozen=True)
class ArtifactOptions:
    """Choices that only an artifact knows; None is the default of `Detector.load`.

    A batch is among them since a checkpoint, the reference, is judged image by image.
    """

    recipe: Path | None = None
    precision: Precision | None = None
    backend: str | None = None
    threads: int | None = None
    batch: int | None = None


@contextmanager
def open_subject(path: Path, options: ArtifactOptions) -> Iterator[Subject]:
    """Open an artifact directory or a checkpoint file.

    Raises:
        InputError: It is neither, an option does not apply, or the recipe gives no verdict here.
    """
    if path.is_dir():
        with _load(path, options) as detector:
            yield Subject(detector, _artifact_record(detector))
    elif path.is_file():
        if options != ArtifactOptions():
            raise InputError(
                f"{path} is a checkpoint: --recipe, --precision, --backend, --threads and "
                "--batch need an artifact, made by zsad-export"
            )
        yield _checkpoint(path)
    else:
        raise InputError(f"{path} does not exist: name an artifact directory or a checkpoint")


def _load(path: Path, options: ArtifactOptions) -> Detector:
    detector = Detector.load(
        path,
        options.recipe,
        options.precision,
        options.backend or "auto",
        options.threads,
        options.batch or 1,
    )
    if detector.refusal is not None:
        detector.close()
        raise InputError(detector.refusal)
    return detector


def _artifact_record(detector: Detector) -> dict[str, Any]:
    artifact, backend = detector.artifact, detector.backend
    method = artifact.manifest.method.name
    name = f"{artifact.path.resolve().name} {backend.precision} on {backend.provider}"
    return {
        "name": f"{name}{reading_mark(method)}",
        "kind": "artifact",
        "method": method,
        "backbone": artifact.manifest.backbone.name,
        "precision": backend.precision,
        "provider": backend.provider,
        "score_kind": detector.score_kind,
        "artifact_sha256": artifact.sha256,
        "graph_sha256": detector.graph.sha256,
    }


def _checkpoint(path: Path) -> Subject:
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("torch", "train", "evaluating a checkpoint")
    from zsad_train.predictor import CheckpointPredictor

    predictor = CheckpointPredictor.load(path)
    record = {
        "name": f"{path.name} in PyTorch{reading_mark(predictor.method.name)}",
        "kind": "checkpoint",
        "method": predictor.method.name,
        "backbone": predictor.method.backbone.info.name,
        "checkpoint_sha256": sha256_file(path),
    }
    return Subject(predictor, record)
