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
        config: The geometry that they were trained in.
    """

    file: str
    sha256: str
    config: TinyConfig = TINY


EMBEDDED = {
    "tiny": Embedded(
        "tiny.safetensors", "73629909a2a45d6e446f4b3b36199fd11b29a5f6c5b98a72ca3a212df41e5a58"
    ),
    "tiny-grain": Embedded(
        "tiny-grain.safetensors",
        "14c2ba6566182193a4920bb3ffad5a6208638e4c1611f2d756fb7d532bcb3ea7",
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
    return whole_state(weights_bytes(name), EMBEDDED[name].file)


def whole_state(data: bytes, label: str) -> dict[str, Tensor]:
    """The state dict of a weights file; an embedded backbone gives what a variant's leaves out.

    Args:
        data: The file's bytes.
        label: What a message calls it.

    Raises:
        InputError: The bytes are not such a file, or are a variant of other weights than the
            package carries.
    """
    state = codec.read(data, label)
    wanted = codec.base_of(data)
    if wanted is None:
        return state
    base = next((name for name, each in EMBEDDED.items() if each.sha256 == wanted), None)
    if base is None:
        raise InputError(
            f"{label} is a variant of weights {wanted[:12]}..., which this zsad does not carry: "
            "install the zsad that it came with"
        )
    return read_state(base) | state


def load_tiny(name: str = "tiny") -> CLIP:
    """An embedded backbone, in float32 and eval mode.

    Raises:
        InputError: The weights file is missing, changed or unreadable.
    """
    model = build_tiny(EMBEDDED[name].config)
    model.load_state_dict(read_state(name))
    return model.eval()
