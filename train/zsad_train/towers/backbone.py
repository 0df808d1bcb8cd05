"""A frozen CLIP, its tokenizer, and what is known about where it came from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from zsad.errors import InputError
from zsad.schema import sha256_file
from zsad_train.towers.download import fetch_tag
from zsad_train.towers.positions import as_hw, grid_for
from zsad_train.towers.source import EMBEDDED, TINY, Source, resolve_source
from zsad_train.towers.support import check_config
from zsad_train.towers.text import TextTower
from zsad_train.towers.vision import VisionTower
from zsad_train.towers.weights import (
    Triple,
    Weights,
    check_fit,
    load_tensors,
    read_weights,
)

Tokenizer = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True)
class BackboneInfo:
    """What a checkpoint and an artifact record about their backbone.

    `load_backbone(info.name, pretrained=info.pretrained, image_size=info.image_hw,
    pos_resize=info.pos_resize)` makes the same backbone again where the weights are still there.

    Attributes:
        name: `tiny`, `tiny-grain` or an open_clip model name.
        pretrained: open_clip tag, path to a weights file, `random:SEED`, or `embedded`.
        sha256: Hash of the weights file, hex; empty for random weights.
        quickgelu: Whether the MLPs use QuickGELU.
        pos_resize: How the position table was fitted to the input size.
        image_hw: Input height and width in pixels.
        mean: Per-channel mean, RGB in [0, 1], that inputs are normalised with.
        std: Per-channel standard deviation, RGB in [0, 1].
    """

    name: str
    pretrained: str
    sha256: str
    quickgelu: bool
    pos_resize: str
    image_hw: tuple[int, int]
    mean: Triple
    std: Triple


class Backbone(nn.Module):
    """The two towers of one CLIP, frozen and in eval mode."""

    def __init__(
        self, clip: CLIP | CustomTextCLIP, tokenizer: Tokenizer, info: BackboneInfo
    ) -> None:
        """Wrap and freeze `clip`; its parameters are shared, not copied.

        Raises:
            InputError: The architecture is one the towers cannot reproduce exactly.
        """
        super().__init__()
        self.vision = VisionTower(clip.visual)
        self.text = TextTower(clip)
        self.info = info
        self._tokenizer = tokenizer
        self.requires_grad_(False)
        self.eval()

    def tokenize(self, texts: list[str]) -> Tensor:
        """Return the token ids, (n, context_length) long, of `texts`."""
        return self._tokenizer(texts).long()


def load_backbone(
    name: str,
    *,
    pretrained: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    pos_resize: str = "bicubic-antialias",
    seed: int | None = None,
) -> Backbone:
    """Load a CLIP as a frozen float32 backbone on the CPU.

    Args:
        name: `tiny` or `tiny-grain`, the embedded backbones, or any open_clip ViT with CLIP's own
            text tower.
        pretrained: An open_clip tag (`openai`), a path to a weights file, or `random`
            (`random:SEED`). None is allowed for the embedded ones only: their own weights.
        image_size: Input size in pixels, one side or (height, width), a multiple of the patch;
            None is the model's own.
        pos_resize: `bicubic-antialias` (open_clip's) or `bilinear` (AnomalyCLIP's): how the
            position table is fitted to the input size, once, here.
        seed: Seed of random weights, 0 where not given.

    Raises:
        InputError: Unknown or unsupported model, weights that cannot be had or do not fit, or an
            impossible size.
    """
    name = name.replace("/", "-")
    config = None if name in TINY else _config(name)
    source = resolve_source(name, pretrained, seed)
    if config is not None:  # refuse what is known to fail before a download
        _check_activation(name, config, source.quickgelu, source.label)
        native = config["vision_cfg"].get("image_size", 224)
        wanted = native if image_size is None else image_size
        grid_for(as_hw(wanted), config["vision_cfg"]["patch_size"])
    file = _read(name, config, source)
    clip = _build(name, config, source)
    weights = file or _initial_weights(name, clip, source)
    image_hw = as_hw(clip.visual.image_size if image_size is None else image_size)
    check_fit(clip, weights.tensors, name, source.label)
    load_tensors(clip, weights.tensors, image_hw, pos_resize)
    info = BackboneInfo(
        name=name,
        pretrained=source.label,
        sha256=weights.sha256,
        quickgelu=isinstance(clip.visual.transformer.resblocks[0].mlp.gelu, QuickGELU),
        pos_resize=pos_resize,
        image_hw=image_hw,
        mean=weights.mean or source.mean,
        std=weights.std or source.std,
    )
    return Backbone(clip, open_clip.SimpleTokenizer(context_length=clip.context_length), info)


def _config(name: str) -> dict[str, Any]:
    known = open_clip.list_models()  # get_model_config would follow hf-hub: and local-dir: names
    if name not in known:
        close = difflib.get_close_matches(name, [*TINY, *known], n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else f"use {', '.join(TINY)} or an open_clip ViT"
        )
        raise InputError(f"unknown backbone '{name}': {hint}")
    config: dict[str, Any] = open_clip.get_model_config(name)
    check_config(name, config)
    return config


def _read(name: str, config: dict[str, Any] | None, source: Source) -> Weights | None:
    path = fetch_tag(name, source.tag) if source.tag else source.path
    if path is None:
        return None
    if config is None:
        return _read_tiny(name, path)
    weights = read_weights(path)
    _check_activation(name, config, weights.quickgelu, source.label)
    return weights


def _read_tiny(name: str, path: Path) -> Weights:
    """What the embedded backbones' own training left, whose words are in eight bits, or a CLIP."""
    from zsad_train import tiny
    from zsad_train.tiny import codec

    wanted = codec.trained_for(path)
    if wanted is None:
        weights = read_weights(path)
    elif wanted == name:
        weights = Weights(tiny.whole_state(path.read_bytes(), str(path)), sha256_file(path))
    else:
        raise InputError(f"the weights '{path}' are those of '{wanted}': use that backbone")
    # The stem has ImageNet's weights, and sees images as they did.
    return replace(weights, mean=weights.mean or tiny.MEAN, std=weights.std or tiny.STD)


def _check_activation(name: str, config: dict[str, Any], wanted: bool | None, label: str) -> None:
    """Refuse weights trained with the other GELU: they load, and are silently wrong."""
    if wanted is None or wanted == config.get("quick_gelu", False):
        return
    other = f"{name}-quickgelu" if wanted else name.removesuffix("-quickgelu")
    activation = "QuickGELU" if wanted else "plain GELU"
    raise InputError(
        f"the weights '{label}' were trained with {activation} and would be wrong in '{name}': "
        f"use the backbone '{other}'"
    )


def _build(name: str, config: dict[str, Any] | None, source: Source) -> CLIP:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source.seed)
        if config is not None:
            return CLIP(**config)
        from zsad_train import tiny

        if source.label == EMBEDDED:
            return tiny.load_tiny(name)
        return tiny.build_tiny(tiny.EMBEDDED[name].config)


def _initial_weights(name: str, clip: CLIP, source: Source) -> Weights:
    if source.label != EMBEDDED:
        return Weights(clip.state_dict(), sha256="")
    from zsad_train import tiny

    sha256 = tiny.EMBEDDED[name].sha256
    return Weights(clip.state_dict(), sha256, mean=tiny.MEAN, std=tiny.STD)
