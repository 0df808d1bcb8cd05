"""Where a backbone's weights come from: what `--pretrained` may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from zsad.errors import InputError
from zsad_train.towers.download import tag_config
from zsad_train.towers.weights import Triple

TINY = ("tiny", "tiny-grain")
"""The backbones whose weights the package carries."""
EMBEDDED = "embedded"
_RANDOM = "random"


@dataclass(frozen=True)
class Source:
    """A resolved `--pretrained`.

    Attributes:
        label: What to say to get the same weights again.
        path: The weights file, where one was named.
        tag: The open_clip tag, where one was named.
        seed: Seed that parameters are drawn with.
        quickgelu: What the weights were trained with, None where only the file can tell.
        mean: Per-channel mean of the inputs, RGB in [0, 1].
        std: Per-channel standard deviation of the inputs, RGB in [0, 1].
    """

    label: str
    path: Path | None = None
    tag: str | None = None
    seed: int = 0
    quickgelu: bool | None = None
    mean: Triple = OPENAI_DATASET_MEAN
    std: Triple = OPENAI_DATASET_STD


def resolve_source(name: str, pretrained: str | None, seed: int | None) -> Source:
    """Turn `pretrained` into a source; nothing is read or downloaded yet.

    Raises:
        InputError: Nothing was named for a model that has no embedded weights, an unknown tag,
            or a bad seed.
    """
    if name in TINY and pretrained in (None, EMBEDDED):
        return Source(EMBEDDED)
    if pretrained is None:
        raise InputError(
            f"backbone '{name}' needs weights: give --pretrained an open_clip tag such as "
            "'openai', the path to a weights file, or 'random'"
        )
    if pretrained.split(":")[0] == _RANDOM:
        return _random_source(pretrained, seed)
    path = Path(pretrained).expanduser()
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return Source(pretrained, path=path)
    return _tag_source(name, pretrained)


def _random_source(pretrained: str, seed: int | None) -> Source:
    _, colon, stated = pretrained.partition(":")
    if colon and not stated.isdecimal():
        raise InputError(f"'{pretrained}' is not a seed: use 'random' or 'random:7'")
    if colon and seed not in (None, int(stated)):
        raise InputError(f"'{pretrained}' and seed {seed} contradict each other: give one of them")
    drawn = int(stated) if colon else seed or 0
    return Source(f"{_RANDOM}:{drawn}", seed=drawn)


def _tag_source(name: str, tag: str) -> Source:
    config: Mapping[str, Any] = tag_config(name, tag)
    return Source(
        tag,
        tag=tag,
        quickgelu=bool(config.get("quick_gelu", False)),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
