"""The recipes of the embedded backbones, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from zsad_train.tiny.config import TINY, TinyConfig
from zsad_train.tiny.objective import Weights


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights; the defaults train from nothing."""

    config: TinyConfig = TINY
    weights: Weights = field(default_factory=Weights)
    imagenet: bool = True  # EfficientNet-Lite2's weights in the stem, fixed; else learned
    sentences: bool = True  # MiniLM's words in the vocabulary, fixed; else learned
    steps: int = 1200
    batch: int = 32
    shards: int = 2  # parts of a batch that are worked on at the same time, one thread each
    # Splits and how many samples of each are drawn; see `cache.open_cache`.
    images: tuple[tuple[str, int], ...] = (("pretrain", 36000), ("photographs", 24000))
    images_seed: int = 0
    validation: tuple[str, ...] = ("val",)  # splits that reports measure
    learning_rate: float = 1e-3
    warm_up: int = 200
    weight_decay: float = 0.05
    decay_from: float = 0.3  # share of the steps after which the learning rate falls to zero
    overlaid: float = 0.3  # see `views.Views`
    warped: float = 0.5
    degraded: float = 0.3
    closer: float = 0.0
    clip_norm: float = 1.0
    seed: int = 0
    starts_from: str | None = None  # sha256 of the weights file that the run goes on from
    variant: str | None = None  # its name, if it stands beside what it starts from

    @property
    def decay_step(self) -> int:
        """The step from which on the learning rate falls."""
        return round(self.decay_from * self.steps)


_MORE = replace(
    Recipe(),
    images=(("pretrain", 96000), ("photographs", 48000)),
    images_seed=1,
    batch=128,
    shards=1,
    decay_from=0.0,
)
"""More images and larger batches: meant for a GPU."""

_GRAINS = replace(
    Recipe(),
    images=(("grains", 40000), ("pretrain", 8000), ("photographs", 6000)),
    validation=("val", "grains"),
    steps=2000,
    warm_up=50,
    learning_rate=7e-4,
    decay_from=0.0,
    overlaid=0.1,
    warped=0.3,
    degraded=0.15,
    closer=0.7,
    seed=4,
)
"""Surfaces whose grain changes, seen from nearby: what is odd may be smaller than a patch."""

STAGES = (
    Recipe(),
    replace(_MORE, steps=5000, learning_rate=1.2e-3, seed=1),
    replace(_MORE, steps=2700, learning_rate=8e-4, seed=2),
    _GRAINS,
    replace(_GRAINS, steps=1400, learning_rate=5e-4, closer=1.0, seed=5),
    replace(
        _GRAINS,
        config=replace(TINY, image_size=560),
        batch=8,
        steps=400,
        learning_rate=2e-4,
        closer=0.0,
        seed=6,
        variant="tiny-grain",
    ),
)
"""The runs that made the embedded weights, each going on from the weights of the one before.

The third leaves the published `tiny`; the later ones make a variant of it for one kind of
surface.
"""
