"""What one run of `zsad-train` is asked to do; free of torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zsad.errors import InputError

Amp = Literal["none", "bf16"]
AMP: tuple[Amp, ...] = ("none", "bf16")


@dataclass(frozen=True)
class TrainConfig:
    """How the trainable parameters are optimised, with Adam."""

    epochs: int = 15
    """Passes over the training data. [?] AnomalyCLIP's; DIVE's is not in the text."""

    batch_size: int = 8
    """Images per step (DIVE section 5.1.3)."""

    lr_prompts: float = 1e-3
    """Learning rate of prompt learners and coupling. [?] The value is AnomalyCLIP's."""

    lr_cross_attention: float = 1e-4
    """Learning rate of cross-attention. [?] DIVE gives it its own; the value is AF-CLIP's."""

    lr_mlp: float = 1e-4
    """Learning rate of the disentangling branches. [?] DIVE names none at all."""

    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates. [?] The whole family's."""

    seed: int = 111
    """Seeds the parameters, each epoch's order, and generated data. [?] AnomalyCLIP's."""

    amp: Amp = "none"
    """`bf16` runs the towers in bfloat16; similarities and losses stay in float32."""

    grad_checkpointing: bool = False
    """Recompute each vision block in the backward pass: less memory, about a third slower."""

    workers: int = 0
    """Processes that load images; 0 loads in the training process."""

    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: CUDA where there is one."""

    def __post_init__(self) -> None:
        """Refuse what could not train."""
        for name in ("epochs", "batch_size", "lr_prompts", "lr_cross_attention", "lr_mlp"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be positive, found {getattr(self, name)}")
        if self.seed < 0 or self.workers < 0:
            raise InputError("seed and workers must not be negative")


@dataclass(frozen=True)
class Job:
    """A run: what is trained, on what, how. A checkpoint carries it, so that it can be resumed.

    Attributes:
        method: A key of `zsad_train.methods.METHODS`.
        preset: A key of the method's presets; None is the one called like the method.
        abnormal_prompts: Overrides the preset's, if not None; not every method has it.
        vv_from_block: Overrides the preset's, if not None.
        descriptions: JSON file of the description bank; None is the built-in one.
        backbone: `tiny`, `tiny-grain` or an open_clip name.
        pretrained: open_clip tag, path to weights or `random`; None is what the package carries.
        image_size: Input side in pixels; None is the backbone's own.
        data: Training data, a spec of `zsad.data`.
        split: Its split; `all` pools those of a public set, whose train split has no defects.
        val: Validation data, a spec; None is the validation split of generated `data`, `none` is
            no validation.
        limit: At most this many training images.
        val_limit: At most this many validation images.
        train: How to optimise.
    """

    data: str
    split: str = "train"
    method: str = "dive"
    preset: str | None = None
    abnormal_prompts: int | None = None
    vv_from_block: int | None = None
    descriptions: str | None = None
    backbone: str = "tiny"
    pretrained: str | None = None
    image_size: int | None = None
    val: str | None = None
    limit: int | None = None
    val_limit: int | None = 200
    train: TrainConfig = TrainConfig()
