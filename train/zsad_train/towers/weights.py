"""CLIP weight files, in every format in use, read without executing anything in them."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP
from safetensors.torch import load_file
from torch import Tensor, nn

from zsad.errors import InputError
from zsad.schema import sha256_file
from zsad_train.towers.positions import grid_for, resize_positions, square_grid

_OPENAI_KEYS = frozenset({"input_resolution", "context_length", "vocab_size"})
_TABLE = "visual.positional_embedding"
_UNUSED = frozenset({"logit_scale", "logit_bias", "attn_mask"})

Triple = tuple[float, float, float]
"""One number per channel, RGB."""


@dataclass(frozen=True)
class Weights:
    """A CLIP state dict and where it came from.

    Attributes:
        tensors: Tensors by open_clip's parameter names.
        sha256: Hash of the file, hex.
        quickgelu: Whether they were trained with QuickGELU, None where nothing tells. OpenAI's
            own files all were; an `open_clip_config.json` beside the file says it for others.
        mean: Per-channel mean that file names, RGB in [0, 1]; None where there is none.
        std: Per-channel standard deviation that file names, RGB in [0, 1].
    """

    tensors: dict[str, Tensor]
    sha256: str
    quickgelu: bool | None = None
    mean: Triple | None = None
    std: Triple | None = None


def read_weights(path: Path) -> Weights:
    """Read OpenAI's TorchScript archive or state dict, or open_clip's safetensors, .bin or .pt.

    The format is told from the content, not from the name. Pickled files are read with
    `weights_only`, so no Python in them runs.

    Raises:
        InputError: The file is missing, corrupt, or holds something other than named tensors.
    """
    if not path.is_file():
        raise InputError(f"weights file '{path}' does not exist: check the path")
    try:
        with warnings.catch_warnings():
            # The formats are others' choice: torch.jit's end and pickle protocols are no news.
            warnings.simplefilter("ignore")
            raw, from_archive = _read_any(path)
    except Exception as error:  # every format's parser has its own ways to fail on a bad file
        raise InputError(
            f"weights file '{path}' cannot be read: damaged, or more than plain tensors; "
            "download it again, or save the model's state dict as .safetensors"
        ) from error
    state = _unwrap(raw)
    if state is None:
        raise InputError(
            f"weights file '{path}' holds no CLIP state dict: give the weights of a whole CLIP "
            "model, image and text tower"
        )
    from_openai = from_archive or state.keys() >= _OPENAI_KEYS
    tensors = {name: tensor for name, tensor in state.items() if name not in _OPENAI_KEYS}
    if from_openai:
        return Weights(tensors, sha256_file(path), quickgelu=True)
    return Weights(tensors, sha256_file(path), **_published_config(path))


def check_fit(clip: CLIP, tensors: Mapping[str, Tensor], name: str, label: str) -> None:
    """Refuse weights `label` that are not those of a model `name`, which `clip` is.

    Raises:
        InputError: A tensor is missing, left over, or of another shape than `clip` has.
    """
    expected = {k: v.shape for k, v in clip.state_dict().items() if k not in _UNUSED}
    found = {k: v.shape for k, v in tensors.items() if k not in _UNUSED}
    for key in sorted(expected.keys() | found.keys()):
        ours, theirs = expected.get(key), found.get(key)
        follows_input = key == _TABLE and ours and theirs and ours[1:] == theirs[1:]
        if ours != theirs and not follows_input:
            raise InputError(
                f"the weights '{label}' do not fit '{name}': '{key}' is {_shape(theirs)} there and "
                f"{_shape(ours)} in the model; name the backbone they were made for"
            )


def _shape(shape: torch.Size | None) -> str:
    return "missing" if shape is None else str(tuple(shape))


def load_tensors(
    clip: CLIP, tensors: Mapping[str, Tensor], image_hw: tuple[int, int], pos_resize: str
) -> None:
    """Load weights that fit, with the position table resized once for `image_hw` pixels.

    Raises:
        InputError: An impossible size, an unknown resize, or a table that is no square grid.
    """
    visual = clip.visual
    grid_hw = grid_for(image_hw, visual.patch_size[0])
    fitted = fit_positions(tensors, grid_hw, pos_resize)
    visual.positional_embedding = nn.Parameter(fitted[_TABLE].clone(), requires_grad=False)
    visual.image_size, visual.grid_size = image_hw, grid_hw
    wanted = clip.state_dict().keys() - _UNUSED
    clip.load_state_dict({k: fitted[k] for k in wanted}, strict=False)


def fit_positions(
    tensors: Mapping[str, Tensor], grid_hw: tuple[int, int], pos_resize: str
) -> dict[str, Tensor]:
    """Return the weights with their position table, float32, resized to a patch grid.

    Raises:
        InputError: An unknown resize, or a table that is no square grid.
    """
    table = tensors[_TABLE].detach().float()
    return {**tensors, _TABLE: resize_positions(table, square_grid(table), grid_hw, pos_resize)}


def _read_any(path: Path) -> tuple[Any, bool]:
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:9] == b"{":
        return load_file(path), False
    if _is_torchscript(path):
        archive = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        return archive.state_dict(), True
    return torch.load(path, map_location="cpu", weights_only=True), False


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _published_config(path: Path) -> dict[str, Any]:
    """What the config that open_clip publishes beside its weights says about them."""
    beside = path.parent / "open_clip_config.json"
    if not path.name.startswith("open_clip_") or not beside.is_file():
        return {}
    try:
        config = json.loads(beside.read_text(encoding="utf-8"))
        said: dict[str, Any] = {"quickgelu": bool(config["model_cfg"].get("quick_gelu", False))}
        for key in ("mean", "std"):
            if key in config.get("preprocess_cfg", {}):
                said[key] = _triple(config["preprocess_cfg"][key])
        return said
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"'{beside}' is not a config as open_clip publishes it ({error!r}): download it again, "
            "or move the weights away from it"
        ) from error


def _triple(values: Sequence[float]) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _unwrap(raw: Any) -> Mapping[str, Tensor] | None:
    state = raw.get("state_dict", raw) if isinstance(raw, Mapping) else None
    if not state or not all(isinstance(v, Tensor) or k in _OPENAI_KEYS for k, v in state.items()):
        return None
    state = {name.removeprefix("module.").removeprefix("text."): v for name, v in state.items()}
    return state if _TABLE in state else None
