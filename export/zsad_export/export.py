"""From a checkpoint to an artifact: what is chosen for it, and what is made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from zsad.artifact import Artifact
from zsad.data import Dataset
from zsad.words import check_words
from zsad_export.assembly import export_model
from zsad_export.choices import Approximation, approximated, choose, undone
from zsad_export.graph_names import FloatPrecision
from zsad_export.identity import identity_of
from zsad_export.int8_options import Int8Options
from zsad_export.memory import release_memory
from zsad_train.checkpoint import Checkpoint, build_method, load_checkpoint
from zsad_train.methods import check_names_types
from zsad_train.methods.base import Method


def read_for_export(path: Path, image_size: int | None = None) -> Checkpoint:
    """Read a checkpoint without its optimiser, at another input side in pixels where given.

    Raises:
        InputError: The file is no checkpoint.
    """
    checkpoint = dataclasses.replace(load_checkpoint(path), training={})
    if image_size is None:
        return checkpoint
    resized = dataclasses.replace(checkpoint.backbone, image_hw=(image_size, image_size))
    return dataclasses.replace(checkpoint, backbone=resized)


def export_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    *,
    fp16: bool = False,
    int8: Int8Options | None = None,
    pretrained: str | None = None,
    choices: Mapping[str, str] | None = None,
    defects: tuple[str, ...] = (),
    gate_data: Dataset | None = None,
    allow_parity_loss: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Artifact:
    """Turn what `checkpoint` says into the artifact directory `out`.

    The FP32 graph is always written: it is the reference, and what a CPU runs.

    Args:
        checkpoint: A trained method, or one that needs no training.
        out: The artifact; one that stands there is replaced once the new one is whole.
        fp16: Also write an FP16 graph and make it the default.
        int8: Also write the float32 graph with its linears in INT8, and with `fp16` the FP16 graph
            too. Neither is the default: INT8 costs accuracy, so it is asked for by name.
        pretrained: Where the backbone's weights are now, if they have moved.
        choices: Options of the method that only inference knows, by the names of
            `EXPORT_CHOICES`. What an approximation costs on the golden frames is part of the
            evidence of each graph.
        defects: Words for the defect types to look for, where the method names types; empty for
            those it was trained with.
        gate_data: Labelled images on which each graph's AUROC is held against its budget, too.
        allow_parity_loss: Record a graph that is over the parity limits instead of failing.
        progress: Is told each step as it begins.

    Raises:
        InputError: The checkpoint, its backbone or its defect types cannot be used, or `out` cannot
            be written.
        ParityError: A graph is over the parity limits.
    """
    choices = choices or {}
    if defects:
        checkpoint = with_defects(checkpoint, defects)
    check_words(checkpoint.words.types)
    trained = choose(checkpoint, undone(choices))
    checkpoint = choose(checkpoint, choices)
    approximation = None
    if chosen := approximated(choices):
        approximation = Approximation(chosen, partial(_build, trained, pretrained))
    precisions: tuple[FloatPrecision, ...] = ("fp32", "fp16") if fp16 else ("fp32",)
    artifact = export_model(
        partial(_build, checkpoint, pretrained),
        identity_of(checkpoint),
        out,
        precisions,
        int8=int8,
        approximation=approximation,
        gate_data=gate_data,
        allow_parity_loss=allow_parity_loss,
        progress=progress,
    )
    release_memory()
    return artifact


def _build(checkpoint: Checkpoint, pretrained: str | None) -> Method:
    return build_method(checkpoint, pretrained=pretrained).eval()


def with_defects(checkpoint: Checkpoint, defects: tuple[str, ...]) -> Checkpoint:
    """Return `checkpoint` with other defect types to look for.

    Raises:
        InputError: Its method names no types.
    """
    check_names_types(checkpoint.method_name)
    words = dataclasses.replace(checkpoint.words, types=defects)
    return dataclasses.replace(checkpoint, words=words)
