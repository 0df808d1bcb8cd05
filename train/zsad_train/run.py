"""One run of `zsad-train`: from a `Job` to a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zsad.data import Dataset, open_dataset
from zsad.errors import InputError
from zsad.schema import from_json, to_json
from zsad_train.checkpoint import Checkpoint, build_method, load_checkpoint
from zsad_train.config import Job
from zsad_train.defect_words import type_words
from zsad_train.descriptions import BUILT_IN, read_descriptions
from zsad_train.epochs import EpochRecord, Progress, ignore
from zsad_train.feature_cache import FeatureCache
from zsad_train.loop import Report, fit
from zsad_train.methods import check_has_options, check_learns, method_class
from zsad_train.methods.base import Method, TrainingWords
from zsad_train.towers import load_backbone

NO_VALIDATION = "none"
RESUMABLE_CHANGES = ("epochs", "workers", "device", "pretrained")
"""Options that a resumed run may change: none of them changes what an epoch computes, since the
weights that `pretrained` names are held against the checkpoint's."""

_GENERATED = ("synthetic", "synthetic-texture")
_VAL_SEED = 0


def train(
    job: Job, out: Path, report: Report = ignore, cache: FeatureCache | None = None
) -> tuple[EpochRecord, ...]:
    """Train from the start and write the checkpoint `out`.

    Args:
        job: What to train.
        out: The checkpoint.
        report: Called with the record of every epoch as it ends.
        cache: Where features are kept; it is no part of the job, since it changes no result.

    Raises:
        InputError: Something in `job` cannot be used; nothing is written then.
    """
    torch.manual_seed(job.train.seed)
    check_learns(job.method)
    cls = method_class(job.method)
    job = dataclasses.replace(job, preset=job.preset or cls.name)  # what the checkpoint records
    config = _method_config(job, cls)
    backbone = load_backbone(
        job.backbone,
        pretrained=job.pretrained,
        image_size=job.image_size,
        pos_resize=cls.pos_resize,
    )
    data, val = _open(job, backbone.info.image_hw)
    method = cls(backbone, config, _words(job, cls, data))
    return fit(method, data, job.train, out, val=val, job=to_json(job), report=report, cache=cache)


def resume(
    out: Path,
    requested: Mapping[str, Any],
    report: Report = ignore,
    cache: FeatureCache | None = None,
) -> tuple[EpochRecord, ...]:
    """Go on with the run that left the checkpoint `out`.

    Args:
        out: The checkpoint.
        requested: Options given anew, by their name in `Job` or `TrainConfig`.
        report: Called with the record of every epoch as it ends.
        cache: As in `train`.

    Raises:
        InputError: The checkpoint cannot be resumed, has nothing left to do, or `requested`
            contradicts it.
    """
    checkpoint = load_checkpoint(out)
    where = f"checkpoint {out}"
    progress = Progress.of(checkpoint.training, where)
    job = _merge(_recorded_job(checkpoint, where), requested)
    if len(progress.records) >= job.train.epochs:
        done = len(progress.records)
        raise InputError(f"{out} has all its {done} epochs: give --epochs {done + 5} to train on")
    method = build_method(checkpoint, pretrained=job.pretrained)
    data, val = _open(job, method.backbone.info.image_hw)
    if data.classes != checkpoint.words.classes:
        raise InputError(f"the classes of '{job.data}' have changed since {out}: train anew")
    return fit(
        method,
        data,
        job.train,
        out,
        val=val,
        progress=progress,
        job=to_json(job),
        report=report,
        cache=cache,
    )


def _method_config(job: Job, cls: type[Method]) -> Any:
    preset = job.preset or cls.name
    if preset not in cls.presets:
        known = ", ".join(cls.presets)
        raise InputError(f"unknown preset '{preset}' of {job.method}: choose one of {known}")
    overrides = {"abnormal_prompts": job.abnormal_prompts, "vv_from_block": job.vv_from_block}
    given = {name: value for name, value in overrides.items() if value is not None}
    check_has_options(job.method, given)
    return dataclasses.replace(cls.presets[preset], **given)


def _words(job: Job, cls: type[Method], data: Dataset) -> TrainingWords:
    types = type_words(data.defect_types) if cls.names_types else ()
    if not cls.attends_to_descriptions:
        if job.descriptions is not None:
            raise InputError(f"{job.method} uses no --descriptions: leave them out")
        return TrainingWords(data.classes, types=types)
    sentences = read_descriptions(BUILT_IN if job.descriptions is None else Path(job.descriptions))
    return TrainingWords(data.classes, sentences.abnormal, sentences.normal, types)


def _open(job: Job, image_hw: tuple[int, int]) -> tuple[Dataset, Dataset | None]:
    _check_split(job)
    size, seed = min(image_hw), job.train.seed
    data = open_dataset(job.data, split=job.split, limit=job.limit, seed=seed, size=size)
    _check_labels(data, job.split)
    val = job.val or (job.data if job.data in _GENERATED else NO_VALIDATION)
    if val == NO_VALIDATION:
        return data, None
    # Validation images are the same whatever the seed, so that runs can be compared.
    return data, open_dataset(val, split="val", limit=job.val_limit, seed=_VAL_SEED, size=size)


def _check_split(job: Job) -> None:
    if job.data in _GENERATED and job.split not in ("train", "pretrain"):
        raise InputError(
            f"--split {job.split} of '{job.data}' is there to measure on: train on its train split"
        )


def _check_labels(data: Dataset, split: str) -> None:
    labels = getattr(data, "labels", None)  # generated data always has both
    if labels is not None and len(set(labels)) < 2:
        kind, other = ("defective", " or --split all") if not any(labels) else ("good", "")
        raise InputError(
            f"'{data.name}', split '{split}', has no {kind} image to learn from: use another "
            f"data set{other}"
        )


def _recorded_job(checkpoint: Checkpoint, where: str) -> Job:
    return from_json(Job, checkpoint.training.get("job"), f"{where}: job")


def _merge(job: Job, requested: Mapping[str, Any]) -> Job:
    recorded = {**vars(job), **vars(job.train)}
    for name, value in requested.items():
        if name not in RESUMABLE_CHANGES and recorded[name] != value:
            raise InputError(
                f"--resume: {name} is {recorded[name]} in the checkpoint, not {value}: leave it "
                "out, or start anew with --force"
            )
    changes = {name: requested[name] for name in RESUMABLE_CHANGES if name in requested}
    pretrained = changes.pop("pretrained", job.pretrained)
    training = dataclasses.replace(job.train, **changes)
    return dataclasses.replace(job, pretrained=pretrained, train=training)
