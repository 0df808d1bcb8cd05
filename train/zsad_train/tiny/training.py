"""A run of the backbone's training: the state that steps change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.model import CLIP
from torch import Tensor

from zsad.errors import InputError
from zsad_train.tiny.batches import Batch, batches, shard
from zsad_train.tiny.cache import Cache
from zsad_train.tiny.config import build_tiny
from zsad_train.tiny.frozen import frozen
from zsad_train.tiny.initial import initialise
from zsad_train.tiny.objective import Objective
from zsad_train.tiny.pretrained import load_imagenet
from zsad_train.tiny.recipes import Recipe
from zsad_train.tiny.views import Views
from zsad_train.towers.weights import fit_positions


class Training:
    """The state of a run: model, optimiser and the next step.

    Args:
        recipe: What the run does.
        rows: (49408, W) word embeddings to keep; without them they are learned.
        start: State dict of the model to go on from, instead of the recipe's own beginning.
        device: Where the model learns.
    """

    def __init__(
        self,
        recipe: Recipe,
        rows: Tensor | None = None,
        start: Mapping[str, Tensor] | None = None,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.device = torch.device(device)
        self.recipe = recipe
        self.model = build_tiny(recipe.config)
        features = self.model.visual.conv1.features
        features.requires_grad_(not recipe.imagenet)
        if start is None:
            initialise(self.model, recipe.config)
            if recipe.imagenet:
                load_imagenet(features)
        else:
            grid = self.model.visual.grid_size
            self.model.load_state_dict(fit_positions(start, grid, "bicubic-antialias"))
        if rows is not None:
            self.model.token_embedding.weight.requires_grad_(False).copy_(rows)
        self.model.to(self.device)
        self.optimiser = torch.optim.AdamW(
            _parameter_groups(self.model, recipe.weight_decay),
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        engine = recipe.imagenet and self.device.type == "cpu"
        self._features = frozen(features, recipe.config.image_size) if engine else None
        self.step = 0
        self.seconds = 0.0

    def save(self, path: Path) -> None:
        """Write the state; an old file stays whole until the new one is."""
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "recipe": asdict(self.recipe),
        }
        unfinished = path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from a saved state of the same recipe.

        The number of steps may change as long as neither run's learning rate has begun to fall:
        until then both take the same steps.

        Raises:
            InputError: The state was made by another recipe.
        """
        state = check_recipe(path, self.recipe)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])

    def run(self, cache: Cache, last_step: int, workers: int = 0) -> Iterator[dict[str, float]]:
        """Take steps up to `last_step`, giving the loss terms of each.

        `workers` processes make the batches; without any they are made between the steps.
        """
        recipe = self.recipe
        objective = Objective(self.model, recipe.weights, self._features)
        views = Views(recipe.overlaid, recipe.warped, recipe.degraded, recipe.closer)
        steps = range(self.step, last_step)
        supply = batches(cache, recipe.config, views, recipe.batch, recipe.seed, steps, workers)
        self.model.train()
        with ThreadPoolExecutor(recipe.shards) as pool:
            for batch in supply:
                for group in self.optimiser.param_groups:
                    group["lr"] = _learning_rate(recipe, self.step)
                parts = [shard(batch, i, recipe.shards) for i in range(recipe.shards)]
                numbers = range(recipe.shards)
                results = list(pool.map(partial(self._gradients, objective), parts, numbers))
                self._apply([gradients for _, gradients in results])
                self.step += 1
                terms = [term for term, _ in results]
                yield means(terms)

    def _gradients(
        self, objective: Objective, batch: Batch, number: int
    ) -> tuple[dict[str, float], tuple[Tensor | None, ...]]:
        rng = np.random.default_rng([self.recipe.seed, 3, self.step, number])
        terms = objective.losses(batch.to(self.device), rng)
        total = torch.stack(list(terms.values())).sum()
        gradients = torch.autograd.grad(total, self._learned(), allow_unused=True)
        return {name: float(value.detach()) for name, value in terms.items()}, gradients

    def _apply(self, gradients: list[tuple[Tensor | None, ...]]) -> None:
        for parameter, *parts in zip(self._learned(), *gradients, strict=True):
            seen = [part for part in parts if part is not None]
            parameter.grad = sum(seen[1:], seen[0]) / len(parts) if seen else None
        torch.nn.utils.clip_grad_norm_(self._learned(), self.recipe.clip_norm)
        self.optimiser.step()

    def _learned(self) -> list[Tensor]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


def check_recipe(path: Path, recipe: Recipe) -> dict[str, Any]:
    """Return a saved state if a run of `recipe` can go on from it.

    Raises:
        InputError: The state was made by another recipe.
    """
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    # Fields that came later had their defaults.
    made_by = {**asdict(Recipe()), **state["recipe"]}
    decay_step = round(made_by["decay_from"] * made_by["steps"])
    early = int(state["step"]) <= min(decay_step, recipe.decay_step)
    same = asdict(recipe) | ({"steps": made_by["steps"]} if early else {})
    if made_by != same:
        raise InputError(f"{path} was made by another recipe: use another --out")
    return state


def means(terms: list[dict[str, float]]) -> dict[str, float]:
    """The mean of every term over the steps that have it."""
    names = {name: None for step in terms for name in step}  # a term may not be in every step
    found = {name: [step[name] for step in terms if name in step] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}


def _parameter_groups(model: CLIP, weight_decay: float) -> list[dict[str, Any]]:
    # Rows of words that never occur must keep their initial values: no decay on tables.
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        table = parameter.ndim < 2 or "embedding" in name
        (free if table else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def _learning_rate(recipe: Recipe, step: int) -> float:
    warm = min(1.0, (step + 1) / recipe.warm_up)
    late = max(0.0, (step - recipe.decay_step) / (recipe.steps - recipe.decay_step))
    return recipe.learning_rate * warm * (1 - late)
