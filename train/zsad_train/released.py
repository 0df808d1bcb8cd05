"""Checkpoints that the authors' own code wrote, read as if `zsad-train` had written them.

AnomalyCLIP, FAPrompt and CoPS save `{"prompt_learner": state_dict}` and not a word on options or
on the CLIP it belongs to. Lengths of prompts are read from the shapes, since that code trains with
any; all else is the preset `METHOD-released`. What the file keeps of CLIP's token embeddings is
made anew from the backbone, after it has shown that this is the right one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zsad.errors import InputError
from zsad.schema import to_json
from zsad_train.checkpoint import FORMAT, RELEASED, Checkpoint, read_file, trained_tensors
from zsad_train.methods import method_class
from zsad_train.methods.base import Method, TrainingWords
from zsad_train.released_layouts import LAYOUTS, Layout
from zsad_train.towers import load_backbone

_DEAD = ("token_prefix_", "token_suffix_", "tokenized_prompts_", "compound_prompt_projections.")
"""Keys of what was not learned, and of layers that the code makes and never uses."""

_NUMBERED = re.compile(r"compound_prompt(?:s_text|_projections)\.(\d{1,4})(?:\.|$)")
_START = "token_prefix_pos"
_OTHER_CLIP = "give --backbone the CLIP that it was learned on"


@dataclass(frozen=True)
class ReleasedFile:
    """The prompt learner in a file, read as that of `method`.

    Attributes:
        path: The file, for errors.
        method: A key of `LAYOUTS`.
        tensors: What it holds, on the CPU.
    """

    path: Path
    method: str
    tensors: Mapping[str, Tensor]

    @property
    def layout(self) -> Layout:
        """What it should hold."""
        return LAYOUTS[self.method]

    @property
    def deep_sets(self) -> int:
        """Sets of deep tokens; the unused layers are as many, and count one that was left out."""
        found = [_NUMBERED.match(key) for key in self.tensors]
        return 1 + max((int(match[1]) for match in found if match), default=-1)

    def check_keys(self) -> None:
        """Refuse a file that lacks a tensor or has one that would be lost.

        Raises:
            InputError: It does.
        """
        wanted, live = self.layout.keys(self.deep_sets), self._live(self.layout)
        for key in sorted(wanted.keys() ^ live):
            # A key is any string, line breaks included.
            problem = "is missing" if key in wanted else f"is not {self.method}'s"
            raise InputError(f"{self.path}: {key!r} {problem}: {self._hint()}")
        for key, dims in wanted.items():
            tensor = self.tensors[key]
            if tensor.dim() != dims:
                shape = tuple(tensor.shape)
                raise self._refuse(key, f"is {shape}, {self.method} wants {dims} dimensions")
            if not tensor.is_floating_point() or not tensor.isfinite().all():
                raise self._refuse(key, "holds values that are no numbers")

    def check_shape(self, key: str, wanted: tuple[int, ...], backbone: str) -> None:
        """Refuse another shape of `key` than the one `wanted` on `backbone`.

        Raises:
            InputError: It has another.
        """
        found = tuple(self.tensors[key].shape)
        if found != wanted:
            wants = f"{self.method} on {backbone} wants {wanted}"
            raise InputError(f"{self.path}: '{key}' is {found}, {wants}: {_OTHER_CLIP}")

    def read(self, key: str, wanted: tuple[int, ...], backbone: str) -> Tensor:
        """Return `key` in float32, which has the shape `wanted` on `backbone`.

        Raises:
            InputError: It has another.
        """
        self.check_shape(key, tuple(wanted), backbone)
        return self.tensors[key].float()

    def check_depth(self, blocks: int, backbone: str) -> None:
        """Refuse deep tokens for more text blocks than the `blocks` of `backbone`.

        Raises:
            InputError: There are.
        """
        if self.deep_sets >= blocks:
            found = f"has {self.deep_sets} sets 'compound_prompts_text.*'"
            takes = f"{self.method} on {backbone} takes {blocks - 1}"
            raise InputError(f"{self.path}: {found}, {takes} at most: {_OTHER_CLIP}")

    def _live(self, layout: Layout) -> set[str]:
        return {key for key in self.tensors if not key.startswith((*_DEAD, *layout.dead))}

    def _hint(self) -> str:
        for other, layout in LAYOUTS.items():
            if layout.keys(self.deep_sets).keys() == self._live(layout):
                return f"the file is one of {other}, give --method {other}"
        return f"give a file that the code of {self.method} wrote"

    def _refuse(self, key: str, problem: str) -> InputError:
        fix = f"give a file that the code of {self.method} wrote"
        return InputError(f"{self.path}: '{key}' {problem}: {fix}")


def read_released(
    path: Path, name: str, backbone: str, *, pretrained: str | None, image_size: int | None
) -> Checkpoint:
    """Return what a checkpoint of ours would say of the file `path`.

    Args:
        path: What the authors' code wrote, `epoch_15.pth`.
        name: The method whose code that is.
        backbone: open_clip name of the CLIP that it was learned on.
        pretrained: open_clip tag, path to weights or `random`.
        image_size: Input side in pixels; None is the backbone's own, where that code has 518.

    Raises:
        InputError: The file cannot be read, is another method's, or does not fit the backbone.
    """
    file = _open(path, name)
    file.check_keys()
    cls = method_class(name)
    clip = load_backbone(
        backbone, pretrained=pretrained, image_size=image_size, pos_resize=cls.pos_resize
    )
    width = (*file.tensors["ctx_pos"].shape[:-1], clip.text.width)
    file.check_shape("ctx_pos", width, clip.info.name)  # before lengths, which it may explain
    file.check_depth(clip.text.depth, clip.info.name)
    config = _config(file, cls.presets[f"{name}-released"], clip.text.depth)
    method = cls(clip, config, TrainingWords(()))
    state = {key: _tensor(file, method, key, own) for key, own in trained_tensors(method).items()}
    _check_start(file, method)
    return Checkpoint(name, to_json(config), clip.info, method.words, state, training={})


def _open(path: Path, name: str) -> ReleasedFile:
    if name not in LAYOUTS:
        raise InputError(
            f"no files of other code are known for {name}, only for {', '.join(LAYOUTS)}: leave "
            "--method out for a checkpoint of zsad-train"
        )
    content = read_file(path, f"give a file that the code of {name} wrote")
    if isinstance(content, dict) and content.get("format") == FORMAT:
        raise InputError(f"{path} is a checkpoint of zsad-train: leave --method and --backbone out")
    learned = content.get(RELEASED) if isinstance(content, dict) else None
    if not isinstance(learned, dict):
        raise InputError(
            f"{path} has no '{RELEASED}': give a file that the code of {name} wrote, epoch_N.pth"
        )
    for key, value in learned.items():
        if not _is_plain_tensor(key, value):
            raise InputError(
                f"{path}: {key!r} is no plain tensor: give a file that the code of {name} wrote"
            )
    return ReleasedFile(path, name, learned)


def _is_plain_tensor(key: Any, value: Any) -> bool:
    dense = isinstance(value, Tensor) and value.layout is torch.strided
    return isinstance(key, str) and dense and not value.is_quantized and not value.is_meta


def _config(file: ReleasedFile, preset: Any, text_blocks: int) -> Any:
    """Return the preset with the lengths that the file has."""
    found = {
        option: file.tensors[key].shape[axis]
        for option, (key, axis) in file.layout.lengths.items()
        if key in file.tensors  # without deep sets they have no length
    }
    depth = 1 + file.deep_sets
    if depth != preset.depth_for(text_blocks):
        found["text_depth"] = depth
    return replace(preset, **found)


def _tensor(file: ReleasedFile, method: Method, name: str, own: Tensor) -> Tensor:
    """Return the file's values for the trained tensor `name`, which has the shape of `own`."""
    layout, backbone = file.layout, method.backbone.info.name
    if own.numel() == 0 or name.startswith(layout.training_only):
        return own  # prompts without tokens of their own or deep ones, or what no file keeps
    slot, names = layout.slots[name], layout.neighbours(name)
    if "*" in slot.key:
        rows = [file.read(key, own.shape[1:], backbone) for key in slot.keys(len(own))]
        return torch.stack(rows)
    shape = (1,) * (slot.dims - own.dim()) + own.shape
    if len(names) == 1:
        return file.read(slot.key, shape, backbone).reshape(own.shape)
    lengths = [method.get_parameter(neighbour).shape[-2] for neighbour in names]
    whole = file.read(slot.key, (*shape[:-2], sum(lengths), shape[-1]), backbone)
    begin = sum(lengths[: names.index(name)])
    return whole.narrow(-2, begin, own.shape[-2]).reshape(own.shape)


def _check_start(file: ReleasedFile, method: Method) -> None:
    """Refuse a CLIP of the same widths whose token embedding is not the one in the file."""
    if _START not in file.tensors:
        return
    found, own = file.tensors[_START].float().flatten(), method.get_buffer("normal.start").flatten()
    # The file may be of a CLIP in half precision.
    if found.shape != own.shape or not torch.allclose(found, own, rtol=1e-2, atol=1e-4):
        raise InputError(
            f"{file.path}: '{_START}' is not the start token of {method.backbone.info.name}: give "
            "--backbone and --pretrained the CLIP that it was learned on"
        )
