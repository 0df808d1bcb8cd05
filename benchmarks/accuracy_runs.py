"""Training on one data set and evaluating on others, step by step and resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsad.errors import InputError
from zsad.schema import to_json
from zsad_train.config import Job

if TYPE_CHECKING:
    from zsad.data import Dataset
    from zsad.evaluate import Evaluation, Predictor
    from zsad_train.feature_cache import FeatureCache

Say = Callable[[str], None]

NO_INTERVALS = 2
"""Bootstrap resamples: tables of several runs show their spread, not intervals."""


@dataclass(frozen=True)
class Outcome:
    """What one training reached on one data set.

    Attributes:
        seed: Of the training.
        data: Name of the data set tested on, with the draw where there are several.
        n_good: Normal images.
        n_defective: Anomalous images.
        figures: Mean over classes, in [0, 1] by metric.
        floor: What plain statistics reach there, likewise; an oracle.
    """

    seed: int
    data: str
    n_good: int
    n_defective: int
    figures: Mapping[str, float]
    floor: Mapping[str, float]


def run(
    job: Job,
    tests: Sequence[str],
    seeds: Sequence[int],
    work: Path,
    say: Say,
    cache: FeatureCache | None = None,
) -> list[Outcome]:
    """Train with every seed and evaluate on every test set; what `work` holds is not done again.

    Raises:
        InputError: A data set or a weights file cannot be used, or `work` holds other runs.
    """
    from zsad.data import open_dataset

    for spec in tests:  # a wrong path must not cost a training
        open_dataset(spec, split="test")
    work.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for seed in seeds:
        seeded = replace(job, train=replace(job.train, seed=seed))
        ckpt = trained(seeded, work / f"{job.method}-seed{seed}.pt", say, cache)
        for spec in tests:
            say(f"{ckpt.name} on {spec}")
            found = evaluated(ckpt, expanded(spec))
            outcomes += [outcome(seed, data, each) for data, each in found]
    return outcomes


def expanded(spec: str) -> tuple[str, ...]:
    """Return `elpv-377` as its twenty draws, since which cells FAPrompt took is not certain."""
    from zsad.data.elpv import DRAWS, N_NORMAL

    drawn = spec == f"elpv-{N_NORMAL}"
    return tuple(f"{spec}:{seed}" for seed in DRAWS) if drawn else (spec,)


def trained(job: Job, out: Path, say: Say, cache: FeatureCache | None = None) -> Path:
    """Train a job to its end, from where an earlier call left it; some methods learn nothing.

    Raises:
        InputError: `out` is the checkpoint of another job.
    """
    from zsad_train import run as training
    from zsad_train.methods import UNTRAINED

    if job.method in UNTRAINED:
        return written(job, out)

    def report(record: Any) -> None:
        say(f"{out.name}, epoch {record.epoch}: loss {record.loss['total']:.4f}")

    done = epochs_done(job, out)
    if done is None:
        training.train(job, out, report, cache)
    elif done < job.train.epochs:
        training.resume(out, {}, report, cache)
    return out


def written(job: Job, out: Path) -> Path:
    """Write the checkpoint of a method that learns nothing, for whatever the images show."""
    from zsad_train.checkpoint import build_method, save_checkpoint, untrained_checkpoint

    weights, size = job.pretrained, job.image_size
    made = untrained_checkpoint(
        job.method, "object", job.backbone, pretrained=weights, image_size=size
    )
    save_checkpoint(out, build_method(made), {})
    return out


def epochs_done(job: Job, out: Path) -> int | None:
    """Return how many epochs of a job a checkpoint holds; None where there is no checkpoint.

    Raises:
        InputError: It is the checkpoint of another job.
    """
    curves = out.with_suffix(".curves.json")
    if not out.is_file() or not curves.is_file():
        return None
    found = json.loads(curves.read_text("utf-8"))
    asked = to_json(replace(job, preset=job.preset or job.method))  # as training records it
    if found["job"] != json.loads(json.dumps(asked)):
        raise InputError(f"{out} was trained otherwise: give another --work, or remove it")
    return len(found["records"])


def evaluated(
    ckpt: Path, specs: Sequence[str], limit: int | None = None
) -> list[tuple[str, Evaluation]]:
    """Evaluate a checkpoint on the test splits of data sets, or on `limit` images of each."""
    from zsad.data import open_dataset
    from zsad_export.subject import ArtifactOptions, open_subject

    sets = [open_dataset(spec, split="test", limit=limit) for spec in specs]
    with open_subject(ckpt, ArtifactOptions()) as subject:
        found = evaluations(subject.predictor, sets, subject.record)
    return list(zip(specs, found, strict=True))


def evaluations(
    predictor: Predictor, sets: Sequence[Dataset], subject: Mapping[str, Any]
) -> list[Evaluation]:
    """Evaluate on each set; an image that several draws without masks share is judged once."""
    from zsad.data.files import ImageFileDataset
    from zsad.evaluate import evaluate, evaluate_parts

    files = [data for data in sets if isinstance(data, ImageFileDataset) and not data.has_masks]
    if len(sets) == 1 or len(files) < len(sets):
        return [evaluate(predictor, data, subject=subject, draws=NO_INTERVALS) for data in sets]
    union = dict.fromkeys(item for data in files for item in data.items)
    whole = replace(files[0], items=tuple(union))
    return evaluate_parts(predictor, whole, files, subject=subject, draws=NO_INTERVALS)


def outcome(seed: int, spec: str, found: Evaluation) -> Outcome:
    """Return what is kept of an evaluation."""

    def values(figures: Mapping[str, Any]) -> dict[str, float]:
        return {name: figure.value for name, figure in figures.items() if figure is not None}

    mean = found.mean
    return Outcome(
        seed,
        name_of(spec),
        mean.n_good,
        mean.n_defective,
        values(mean.figures),
        values(found.floor.figures),
    )


def name_of(spec: str) -> str:
    """Return what a spec opens, without folders: `mvtec` of `list:FILE:mvtec:PATH`."""
    kind, _, rest = spec.partition(":")
    if kind == "list":
        return name_of(rest.partition(":")[2])
    return spec if rest.isdigit() else kind


def as_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return outcomes as plain JSON values."""
    return [asdict(each) for each in outcomes]
