"""Which CLIP architectures the towers reproduce exactly, and the line that refuses the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import ResidualAttentionBlock, TextTransformer, VisionTransformer
from torch import Tensor

from zsad.errors import InputError

ALTERNATIVE = "use a plain CLIP ViT such as ViT-B-16 or ViT-L-14-336-quickgelu"


def check_config(name: str, config: Mapping[str, Any]) -> None:
    """Refuse an open_clip model config before anything is built or downloaded.

    Raises:
        InputError: The config asks for something other than a CLIP ViT with CLIP's own causal
            text transformer and tokenizer; the line names the model, why, and an alternative.
    """
    vision, text = config["vision_cfg"], config["text_cfg"]
    reasons = {
        "its image tower is a timm model": "timm_model_name" in vision,
        "its image tower is a ResNet": isinstance(vision.get("layers"), list),
        "it is a CoCa model": "multimodal_cfg" in config,
        "its text tower is a Hugging Face model": "hf_model_name" in text,
        "its tokenizer is not CLIP's": "hf_tokenizer_name" in text,
    }
    for reason, holds in reasons.items():
        if holds:
            raise InputError(f"backbone '{name}' is not supported, {reason}: {ALTERNATIVE}")


def check_vision(visual: Any) -> None:
    """Refuse an image tower that `VisionTower` would not reproduce exactly.

    Raises:
        InputError: The line says what is in the way.
    """
    if not isinstance(visual, VisionTransformer):
        _refuse(f"a {type(visual).__name__} image tower")
    if visual.attn_pool is not None:
        _refuse("an image tower with attentional pooling")
    if visual.pool_type not in ("tok", "avg"):
        _refuse(f"an image tower with pooling '{visual.pool_type}'")
    if visual.patch_size[0] != visual.patch_size[1]:
        _refuse("an image tower whose patches are not square")
    _check_blocks(visual.transformer, "image")


def check_text(clip: Any) -> None:
    """Refuse a text tower that `TextTower` would not reproduce exactly.

    Raises:
        InputError: The line says what is in the way.
    """
    if not isinstance(clip, (CLIP, CustomTextCLIP)):
        _refuse(f"a {type(clip).__name__} model")
    text = getattr(clip, "text", clip)
    if text is not clip and not isinstance(text, TextTransformer):
        _refuse(f"a {type(text).__name__} text tower")
    pool_type = text.pool_type if text is not clip else clip.text_pool_type
    if pool_type not in ("argmax", "eos"):
        _refuse(f"a text tower with pooling '{pool_type}'")
    if text.attn_mask is None or getattr(text, "cls_emb", None) is not None:
        _refuse("a text tower that is not causal")
    _check_blocks(text.transformer, "text")


def check_size(images: Tensor, image_hw: tuple[int, int]) -> None:
    """Refuse images (B, 3, H, W) of another size in pixels than a tower takes.

    Raises:
        InputError: They are.
    """
    height, width = images.shape[-2:]
    if (height, width) != image_hw:
        raise InputError(
            f"the tower takes {image_hw[0]}x{image_hw[1]} px images, not {height}x{width}: resize "
            "them, or load the backbone with that image size"
        )


def _check_blocks(transformer: Any, tower: str) -> None:
    for block in transformer.resblocks:
        if type(block) is not ResidualAttentionBlock:
            _refuse(f"an {tower} tower with {type(block).__name__} blocks")


def _refuse(what: str) -> None:
    raise InputError(f"{what} is not supported: {ALTERNATIVE}")
