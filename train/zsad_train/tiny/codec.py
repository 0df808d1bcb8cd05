"""The weights file: int8 rows with a scale for the vocabulary, half precision for the rest.

The word table is most of a small CLIP: 49,408 rows. Eight bits and one scale per row keep every
word within 1/254 of its row's largest value and the file under 20 MB.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from zsad.errors import InputError

BASE = "base_sha256"
"""In the metadata of a file that holds part of a backbone: the hash of the file with the rest."""

_TABLE = "token_embedding.weight"
_ROWS, _SCALES = f"{_TABLE}.int8", f"{_TABLE}.scale"


def encode(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A float32 state dict, or part of one, to the tensors of the file."""
    packed = {
        name: value.to(torch.float16).contiguous()
        for name, value in state.items()
        if name != _TABLE
    }
    if _TABLE in state:
        packed[_ROWS], packed[_SCALES] = quantise_rows(state[_TABLE])
    return packed


def decode(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the file to a float32 state dict."""
    state = {
        name: value.to(torch.float32)
        for name, value in packed.items()
        if name not in (_ROWS, _SCALES)
    }
    if _ROWS in packed:
        state[_TABLE] = packed[_ROWS].to(torch.float32) * packed[_SCALES].to(torch.float32)
    return state


def quantise_rows(table: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric int8 rows (n, W) and their float16 scales (n, 1): row = int8 * scale."""
    # Rounded to half precision first, so that the rows fit the scale that is stored.
    scales = (table.abs().amax(dim=1, keepdim=True) / 127).to(torch.float16)
    steps = scales.to(torch.float32).clamp_min(torch.finfo(torch.float16).tiny)
    return (table / steps).round().clamp(-127, 127).to(torch.int8), scales


def write(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a state dict; an old file stays whole until the new one is."""
    unfinished = path.with_suffix(".part")
    safetensors.torch.save_file(encode(state), unfinished, metadata=dict(metadata))
    unfinished.replace(path)


def read(data: bytes, name: str) -> dict[str, Tensor]:
    """Read a state dict from a file's bytes.

    Raises:
        InputError: The bytes are not such a file; the line calls it `name`.
    """
    try:
        packed = safetensors.torch.load(data)
        return decode(packed)
    except (safetensors.SafetensorError, KeyError) as error:
        raise InputError(
            f"{name} is not a weights file of zsad_train.tiny.train: give the .safetensors that it"
            " left in its --out"
        ) from error


def trained_for(path: Path) -> str | None:
    """The embedded backbone that a file was trained for; None if it is no file of that training."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            recipe = (file.metadata() or {}).get("recipe")
    except (safetensors.SafetensorError, OSError):
        return None
    return None if recipe is None else json.loads(recipe).get("variant") or "tiny"


def base_of(data: bytes) -> str | None:
    """The hash of the file that one stands on, read from its bytes; None if it is whole."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    found: str | None = header.get("__metadata__", {}).get(BASE)
    return found
