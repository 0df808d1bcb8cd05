"""Reads the embedded weights."""

from __future__ import annotations

import hashlib
from importlib import resources

from open_clip.model import CLIP

from zsad.errors import InputError
from zsad_train.tiny import codec
from zsad_train.tiny.config import TINY, build_tiny

WEIGHTS_FILE = "tiny.safetensors"
WEIGHTS_SHA256 = "73629909a2a45d6e446f4b3b36199fd11b29a5f6c5b98a72ca3a212df41e5a58"
"""Of the file beside this module; `MODEL_CARD.md` says how it was made."""


def weights_bytes() -> bytes:
    """The embedded weights file.

    Raises:
        InputError: The file is missing, or is not the one that was published.
    """
    path = resources.files(__package__) / WEIGHTS_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"the embedded weights {path} are missing: reinstall zsad") from error
    found = hashlib.sha256(data).hexdigest()
    if found != WEIGHTS_SHA256:
        raise InputError(
            f"the embedded weights {path} have sha256 {found[:12]}..., not "
            f"{WEIGHTS_SHA256[:12]}...: reinstall zsad"
        )
    return data


def load_tiny() -> CLIP:
    """The trained backbone, in float32 and eval mode.

    Raises:
        InputError: The weights file is missing, changed or unreadable.
    """
    model = build_tiny(TINY)
    model.load_state_dict(codec.read(weights_bytes(), WEIGHTS_FILE))
    return model.eval()
