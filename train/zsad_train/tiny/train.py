"""Trains `tiny` from nothing on generated data: `python -m zsad_train.tiny.train --out DIR`.

The recipe counts steps, not minutes, and every step's batch depends on its number alone, so that a
resumed run and a faster machine give the same weights up to rounding. Only the train split is
learned from; figures come from the val split; the test split is never looked at.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from zsad.command import Command
from zsad.errors import InputError
from zsad_train.tiny import codec
from zsad_train.tiny.batches import Batch, Views, batches, shard
from zsad_train.tiny.cache import Cache, open_cache
from zsad_train.tiny.config import TINY, TinyConfig, build_tiny
from zsad_train.tiny.initial import initialise
from zsad_train.tiny.loader import WEIGHTS_FILE
from zsad_train.tiny.objective import Objective, Weights
from zsad_train.tiny.validate import separation

if TYPE_CHECKING:
    from zsad_train.tiny.teacher import School

_GENERATED_PX = 224
_SAVE_EVERY = 50
_VAL_IMAGES = 512


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    config: TinyConfig = TINY
    weights: Weights = field(default_factory=Weights)
    teachers: bool = True  # EfficientNet-Lite2's textures and MiniLM's words
    steps: int = 4800
    batch: int = 32
    shards: int = 2  # parts of a batch that are worked on at the same time, one thread each
    train_images: int = 30000
    learning_rate: float = 1e-3
    warm_up: int = 200
    weight_decay: float = 0.05
    window: int = 7  # side, in patches, of what is seen at first
    whole_from: float = 0.82  # share of the steps after which whole images are seen
    decay_from: float = 0.7  # share of the steps after which the learning rate falls to zero
    clip_norm: float = 1.0
    seed: int = 0

    @property
    def decay_step(self) -> int:
        """The step from which on the learning rate falls."""
        return round(self.decay_from * self.steps)


class Training:
    """The state of a run: model, optimiser and the next step.

    `rows` (49408, W) are word embeddings to start from and to keep; without them they are learned.
    """

    def __init__(self, recipe: Recipe, rows: Tensor | None = None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.model = build_tiny(recipe.config)
        initialise(self.model, recipe.config)
        if rows is not None:
            self.model.token_embedding.weight.requires_grad_(False).copy_(rows)
        self.school = _school(recipe.config.width) if recipe.teachers else None
        self.modules = nn.ModuleList([self.model])
        if self.school is not None:
            self.modules.append(self.school.pupil)
        self.optimiser = torch.optim.AdamW(
            _parameter_groups(self.modules, recipe.weight_decay),
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.step = 0
        self.seconds = 0.0

    def save(self, path: Path) -> None:
        """Write the state; an old file stays whole until the new one is."""
        state = {
            "modules": self.modules.state_dict(),
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
        state = torch.load(path, weights_only=True)
        made_by = dict(state["recipe"])
        decay_step = round(made_by["decay_from"] * made_by["steps"])
        early = int(state["step"]) <= min(decay_step, self.recipe.decay_step)
        same = asdict(self.recipe) | ({"steps": made_by["steps"]} if early else {})
        if made_by != same:
            raise InputError(f"{path} was made by another recipe: use another --out")
        self.modules.load_state_dict(state["modules"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])

    def run(self, cache: Cache, last_step: int) -> Iterator[dict[str, float]]:
        """Take steps up to `last_step`, giving the loss terms of each."""
        recipe = self.recipe
        objective = Objective(self.model, recipe.weights, self.school)
        views = Views(recipe.window, round(recipe.whole_from * recipe.steps))
        steps = range(self.step, last_step)
        supply = batches(cache, recipe.config, views, recipe.batch, recipe.seed, steps)
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
                yield _means(terms)

    def _gradients(
        self, objective: Objective, batch: Batch, number: int
    ) -> tuple[dict[str, float], tuple[Tensor | None, ...]]:
        rng = np.random.default_rng([self.recipe.seed, 3, self.step, number])
        terms = objective.losses(batch, rng)
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
        return [parameter for parameter in self.modules.parameters() if parameter.requires_grad]


def _means(terms: list[dict[str, float]]) -> dict[str, float]:
    names = {name: None for step in terms for name in step}  # a term may not be in every step
    found = {name: [step[name] for step in terms if name in step] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}


def _school(width: int) -> School:
    # Here, since only whoever trains the backbone anew installs the teachers.
    from zsad_train.tiny.teacher import Pupil, School, Teacher

    return School(Teacher(), Pupil(width))


def _rows(cache_folder: Path, width: int) -> Tensor:
    from zsad_train.tiny.words import word_rows

    path = cache_folder / f"words-{width}.pt"
    if not path.is_file():
        unfinished = path.with_suffix(".part")
        torch.save(word_rows(width), unfinished)
        unfinished.replace(path)
    rows: Tensor = torch.load(path, weights_only=True)
    return rows


def _parameter_groups(modules: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    # Rows of words that never occur must keep their initial values: no decay on tables.
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in modules.named_parameters():
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


def train(recipe: Recipe, out: Path, cache_folder: Path, report_every: int) -> Training:
    """Run a recipe to its end; state, log and recipe lie in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2), "utf-8")
    cache = open_cache(cache_folder, "train", recipe.train_images, recipe.seed, _GENERATED_PX)
    val = open_cache(cache_folder, "val", _VAL_IMAGES, 1, _GENERATED_PX)
    rows = _rows(cache_folder, recipe.config.text_width) if recipe.teachers else None
    training = Training(recipe, rows)
    if (out / "state.pt").is_file():
        training.resume(out / "state.pt")
    bar = tqdm(total=recipe.steps, initial=training.step, desc="tiny", mininterval=10)
    terms: list[dict[str, float]] = []
    while training.step < recipe.steps:
        started = time.monotonic()
        goal = min(training.step - training.step % _SAVE_EVERY + _SAVE_EVERY, recipe.steps)
        for term in training.run(cache, goal):
            terms.append(term)
            bar.update()
        training.seconds += time.monotonic() - started
        training.save(out / "state.pt")
        if training.step % report_every == 0 or training.step == recipe.steps:
            _report(out, training, terms, val)
            terms = []
    bar.close()
    return training


def publish(training: Training, out: Path) -> Path:
    """Write the weights as the package carries them; the codec rounds them."""
    path = out / WEIGHTS_FILE
    recipe = json.dumps(asdict(training.recipe), sort_keys=True)
    codec.write(training.model.state_dict(), path, {"recipe": recipe, "step": str(training.step)})
    return path


def _report(out: Path, training: Training, terms: list[dict[str, float]], val: Cache) -> None:
    training.model.eval()
    last = training.step == training.recipe.steps
    measured = separation(
        training.model, training.recipe.config, val, len(val) if last else len(val) * 3 // 8
    )
    line = {
        "step": training.step,
        "seconds": round(training.seconds),
        **{name: round(value, 4) for name, value in _means(terms).items()},
        **{name: round(value, 4) for name, value in asdict(measured).items()},
    }
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    tqdm.write(json.dumps(line))


@click.command(cls=Command)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--cache", type=click.Path(path_type=Path), help="Generated images; OUT/cache.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all randomness.")
@click.option("--steps", type=int, default=Recipe.steps, show_default=True, help="Length.")
def main(out: Path, cache: Path | None, seed: int, steps: int) -> None:
    """Train the embedded backbone; a second call goes on where the first one stopped."""
    # Two shards side by side beat two threads in every small operation.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    recipe = replace(Recipe(), seed=seed, steps=steps)
    training = train(recipe, out, cache or out / "cache", report_every=250)
    path = publish(training, out)
    click.echo(f"{path}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
