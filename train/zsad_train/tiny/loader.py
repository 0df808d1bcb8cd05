"""Reads the embedded weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib import resources

from open_clip.model import CLIP
from torch import Tensor

from zsad.errors import InputError
from zsad_train.tiny import codec
from zsad_train.tiny.config import TINY, TinyConfig, build_tiny


@dataclass(frozen=True)
class Embedded:
    """Weights that the package carries.

    Attributes:
        file: Their file beside this module.
        sha256: Of the file.
        base: The backbone whose tensors stand for those that the file leaves out.
        config: The geometry that they were trained in.
    """

    file: str
    sha256: str
    base: str | None = None
    config: TinyConfig = TINY


EMBEDDED = {
    "tiny": Embedded(
        "tiny.safetensors", "73629909a2a45d6e446f4b3b36199fd11b29a5f6c5b98a72ca3a212df41e5a58"
    ),
    "tiny-grain": Embedded(
        "tiny-grain.safetensors",
        "f8e05517e665ee7adae99582a578321ca3801eaf5d5b6d519d7ee9f2290b68c7",
        base="tiny",
        config=replace(TINY, image_size=560),
    ),
}
"""By backbone; `MODEL_CARD.md` says how they were made."""


def weights_bytes(name: str = "tiny") -> bytes:
    """The weights file of an embedded backbone.

    Raises:
        InputError: The file is missing, or is not the one that was published.
    """
    weights = EMBEDDED[name]
    path = resources.files(__package__) / weights.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"the embedded weights {path} are missing: reinstall zsad") from error
    found = hashlib.sha256(data).hexdigest()
    if found != weights.sha256:
        raise InputError(
            f"the embedded weights {path} have sha256 {found[:12]}..., not "
            f"{weights.sha256[:12]}...: reinstall zsad"
        )
    return data


def read_state(name: str = "tiny") -> dict[str, Tensor]:
    """The state dict of an embedded backbone, float32.

    Raises:
        InputError: The weights file is missing, changed or unreadable.
    """
    weights = EMBEDDED[name]
    base = {} if weights.base is None else read_state(weights.base)
    return base | codec.read(weights_bytes(name), weights.file)


def load_tiny(name: str = "tiny") -> CLIP:
    """An embedded backbone, in float32 and eval mode.

    Raises:
        InputError: The weights file is missing, changed or unreadable.
    """
    model = build_tiny(EMBEDDED[name].config)
    model.load_state_dict(read_state(name))
    return model.eval()
