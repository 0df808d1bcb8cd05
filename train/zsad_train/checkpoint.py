"""Checkpoints: the trained tensors and plain metadata, read without running anything in them."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zsad.errors import InputError
from zsad.schema import from_json, to_json, write_atomic
from zsad_train.methods import method_class
from zsad_train.methods.base import Method, TrainingWords
from zsad_train.retrieval import Memory
from zsad_train.towers import BackboneInfo, load_backbone

FORMAT = "zsad-checkpoint"
SCHEMA = 1
RELEASED = "prompt_learner"
"""The only key of what the code of AnomalyCLIP, FAPrompt and CoPS writes."""

_RETRAIN = "give a file that zsad-train wrote, or train again"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file says.

    Attributes:
        method_name: The method, a key of `METHODS`.
        options: Its configuration as plain JSON values.
        backbone: Identity of the CLIP it was trained on; the CLIP itself is not in the file.
        words: The class names and sentences it was trained with.
        state: Trained tensors by parameter name.
        training: Whatever the training loop needs to go on; empty for finished weights.
    """

    method_name: str
    options: Mapping[str, Any]
    backbone: BackboneInfo
    words: TrainingWords
    state: Mapping[str, Tensor]
    training: Mapping[str, Any]


def trained_tensors(method: Method) -> dict[str, Tensor]:
    """Return the tensors that training changes, by name, on the CPU.

    They are the trainable parameters, and the memories that were filled from training data.
    """
    return {name: tensor.detach().cpu() for name, tensor in _live_tensors(method).items()}


def save_checkpoint(path: Path, method: Method, training: Mapping[str, Any]) -> None:
    """Write `method` and the loop's state `training` to `path`, whole or not at all.

    Args:
        path: The file, replaced if it is there.
        method: Only its trained tensors, configuration, words and backbone's identity are written.
        training: Tensors and plain values only.

    Raises:
        InputError: The file cannot be written.
    """
    content = {
        "format": FORMAT,
        "schema": SCHEMA,
        "method": method.name,
        "options": to_json(method.config),
        "backbone": to_json(method.backbone.info),
        "words": to_json(method.words),
        "state": trained_tensors(method),
        "training": dict(training),
    }
    stream = io.BytesIO()
    torch.save(content, stream)
    write_atomic(path, stream.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, tensors on the CPU.

    Raises:
        InputError: The file is missing, damaged, not a checkpoint, holds code, or is of a newer
            schema.
    """
    content = read_file(path, _RETRAIN)
    where = f"checkpoint {path}"
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        foreign = isinstance(content, dict) and RELEASED in content
        fix = "if other code wrote it, give zsad-export its --method" if foreign else _RETRAIN
        raise InputError(f"{path} is not a zsad checkpoint: {fix}")
    if content.get("schema") != SCHEMA:
        found = content.get("schema")
        raise InputError(f"{where} has schema {found}, this zsad reads {SCHEMA}: upgrade zsad")
    missing = {"method", "options", "backbone", "words", "state", "training"} - content.keys()
    if missing:
        raise InputError(f"{where}: '{min(missing)}' is missing: {_RETRAIN}")
    return Checkpoint(
        method_name=str(content["method"]),
        options=content["options"],
        backbone=from_json(BackboneInfo, content["backbone"], f"{where}: backbone"),
        words=from_json(TrainingWords, content["words"], f"{where}: words"),
        state=content["state"],
        training=content["training"],
    )


def untrained_checkpoint(
    name: str, thing: str, backbone: str, *, pretrained: str | None, image_size: int | None
) -> Checkpoint:
    """Return what a checkpoint of a method that needs no training would say.

    Args:
        name: A key of `UNTRAINED`.
        thing: What the images show, for the sentences: a part's name, or just "object".
        backbone: `tiny`, `tiny-grain` or an open_clip name.
        pretrained: open_clip tag, path to weights or `random`; None is what the package carries.
        image_size: Input side in pixels; None is the backbone's own.

    Raises:
        InputError: `thing` is empty, or the backbone cannot be used.
    """
    if not thing.strip():
        raise InputError("--object is empty: name what the images show, or leave it out")
    cls = method_class(name)
    info = load_backbone(
        backbone, pretrained=pretrained, image_size=image_size, pos_resize=cls.pos_resize
    ).info
    options = to_json(cls.presets[name])
    return Checkpoint(name, options, info, cls.words_for(thing.strip()), state={}, training={})


def build_method(checkpoint: Checkpoint, *, pretrained: str | None = None) -> Method:
    """Load the backbone that `checkpoint` names and put the trained method on it.

    Args:
        checkpoint: What `load_checkpoint` returned.
        pretrained: Where the backbone's weights are now, if they have moved since training.

    Raises:
        InputError: The method is unknown, the backbone's weights are gone or are others, or the
            tensors do not fit.
    """
    cls = method_class(checkpoint.method_name)
    config: Any = from_json(cls.config_type, checkpoint.options, "checkpoint: options")
    wanted = checkpoint.backbone
    backbone = load_backbone(
        wanted.name,
        pretrained=pretrained or wanted.pretrained,
        image_size=wanted.image_hw,
        pos_resize=wanted.pos_resize,
    )
    _check_same(backbone.info, wanted)
    method = cls(backbone, config, checkpoint.words)
    _load_tensors(method, checkpoint.state)
    return method


def read_file(path: Path, fix: str) -> Any:
    """Return what `torch.save` wrote into `path`, on the CPU; nothing in it is run.

    Args:
        path: The file.
        fix: What to do about a bad one, for the error.

    Raises:
        InputError: The file is missing, damaged, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise InputError(f"checkpoint not found: {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch each fail in their own ways on a bad file
        kind = type(error).__name__
        raise InputError(f"{path} cannot be read as a checkpoint ({kind}): {fix}") from None


def _check_same(found: BackboneInfo, wanted: BackboneInfo) -> None:
    for field in dataclasses.fields(BackboneInfo):
        have, want = getattr(found, field.name), getattr(wanted, field.name)
        if field.name != "pretrained" and have != want:
            raise InputError(
                f"backbone '{wanted.name}' has {field.name} '{have}', the checkpoint was trained "
                f"with '{want}': give --pretrained the weights of {wanted.pretrained}"
            )


def _live_tensors(method: Method) -> dict[str, Tensor]:
    parameters = {n: p for n, p in method.named_parameters() if p.requires_grad}
    memories = _memories(method).items()
    return parameters | {f"{n}.{key}": b for n, m in memories for key, b in m.named_buffers()}


def _memories(method: Method) -> dict[str, Memory]:
    return {name: module for name, module in method.named_modules() if isinstance(module, Memory)}


def _load_tensors(method: Method, state: Mapping[str, Tensor]) -> None:
    for name, memory in _memories(method).items():
        memory.make_room(state.get(f"{name}.keys", memory.keys).shape[:1].numel())
    tensors = _live_tensors(method)
    if unmatched := sorted(tensors.keys() ^ state.keys()):
        side = "lacks" if unmatched[0] in tensors else "has an unknown"
        raise InputError(f"checkpoint {side} tensor '{unmatched[0]}' of {method.name}: {_RETRAIN}")
    for name, tensor in tensors.items():
        if tensor.shape != state[name].shape:
            shapes = f"{tuple(state[name].shape)}, {method.name} wants {tuple(tensor.shape)}"
            raise InputError(f"checkpoint: tensor '{name}' is {shapes}: {_RETRAIN}")
        with torch.no_grad():
            tensor.copy_(state[name])
    for memory in _memories(method).values():
        memory.check_filled()
