"""Trains the embedded backbones on generated data: `python -m zsad_train.tiny.train --out DIR`.

It takes several stages; each after the first goes on from the weights of the one before.

The recipe counts steps, not minutes, and every step's batch depends on its number alone, so that a
resumed run and a faster machine give the same weights up to rounding. Only the recipe's split is
learned from; figures come from the val split; the test split is never looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import click
import cv2
import torch
from torch import Tensor
from tqdm import tqdm

from zsad.command import Command
from zsad.errors import InputError
from zsad.schema import write_json
from zsad_train.tiny import codec
from zsad_train.tiny.cache import Cache, chained, open_cache
from zsad_train.tiny.config import build_tiny
from zsad_train.tiny.loader import EMBEDDED, read_state, whole_state
from zsad_train.tiny.recipes import STAGES, Recipe
from zsad_train.tiny.training import Training, check_recipe, means
from zsad_train.tiny.validate import separation

_GENERATED_PX = 224
_SAVE_EVERY = 50
_VAL_IMAGES = 512
_LOG = "log.jsonl"


def train(
    recipe: Recipe,
    out: Path,
    cache_folder: Path,
    report_every: int,
    start: Mapping[str, Tensor] | None = None,
    device: str = "cpu",
    workers: int = 0,
) -> Training:
    """Run a recipe to its end; state, log and recipe lie in `out`.

    `start` is the state dict of the model that a continued recipe goes on from. `workers` processes
    make the batches.
    """
    out.mkdir(parents=True, exist_ok=True)
    if (out / "state.pt").is_file():  # before anything is drawn or written
        check_recipe(out / "state.pt", recipe)
    write_json(out / "recipe.json", recipe)
    drawn = [
        open_cache(cache_folder, split, count, recipe.images_seed, _GENERATED_PX)
        for split, count in recipe.images
    ]
    cache = chained(drawn)
    validation = _validation(recipe, cache_folder)
    training = Training(recipe, _rows(recipe, cache_folder, start), start, device)
    if (out / "state.pt").is_file():
        training.resume(out / "state.pt")
    bar = tqdm(total=recipe.steps, initial=training.step, desc="tiny", mininterval=10)
    terms: list[dict[str, float]] = []
    started = time.monotonic()
    for term in training.run(cache, recipe.steps, workers):
        terms.append(term)
        bar.update()
        if training.step % _SAVE_EVERY and training.step < recipe.steps:
            continue
        training.seconds += time.monotonic() - started
        training.save(out / "state.pt")
        if training.step % report_every == 0 or training.step == recipe.steps:
            _report(out, training, terms, validation)
            terms = []
        started = time.monotonic()
    bar.close()
    return training


def _validation(recipe: Recipe, cache_folder: Path) -> dict[str, Cache]:
    """Return what reports measure, by the prefix of its figures' names."""
    return {
        "" if split == "val" else f"{split}_": open_cache(
            cache_folder, split, _VAL_IMAGES, 1, _GENERATED_PX
        )
        for split in recipe.validation
    }


def _rows(recipe: Recipe, cache_folder: Path, start: Mapping[str, Tensor] | None) -> Tensor | None:
    if start is not None:
        return start["token_embedding.weight"]
    return _taught_rows(cache_folder, recipe.config.text_width) if recipe.sentences else None


def _taught_rows(cache_folder: Path, width: int) -> Tensor:
    from zsad_train.tiny.words import word_rows

    path = cache_folder / f"words-{width}.pt"
    if not path.is_file():
        unfinished = path.with_suffix(".part")
        torch.save(word_rows(width), unfinished)
        unfinished.replace(path)
    rows: Tensor = torch.load(path, weights_only=True)
    return rows


def publish(training: Training, out: Path) -> Path:
    """Write the weights as the package carries them; the codec rounds them.

    A variant's file holds only what differs from the backbone that it is a variant of, and the hash
    of that one's file.
    """
    name = training.recipe.variant or "tiny"
    path = out / f"{name}.safetensors"
    metadata = {
        "recipe": json.dumps(asdict(training.recipe), sort_keys=True),
        "step": str(training.step),
    }
    state = {name: value.cpu() for name, value in training.model.state_dict().items()}
    if training.recipe.variant is not None:
        base = read_state("tiny")
        state = {name: value for name, value in state.items() if not value.equal(base[name])}
        metadata[codec.BASE] = EMBEDDED["tiny"].sha256
    codec.write(state, path, metadata)
    return path


def _report(
    out: Path, training: Training, terms: list[dict[str, float]], validation: Mapping[str, Cache]
) -> None:
    training.model.eval()
    figures: dict[str, float] = {}
    for prefix, cache in validation.items():
        last = training.step == training.recipe.steps
        count = len(cache) if last else len(cache) * 3 // 8
        measured = asdict(separation(training.model, training.recipe.config, cache, count))
        figures |= {prefix + name: round(value, 4) for name, value in measured.items()}
    training.model.train()  # steps go on after it
    line = {
        "step": training.step,
        "seconds": round(training.seconds),
        **{name: round(value, 4) for name, value in means(terms).items()},
        **figures,
    }
    with (out / _LOG).open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    tqdm.write(json.dumps(line))


def last_report(out: Path) -> dict[str, float]:
    """What the run in `out` reported last: step, seconds, loss terms, validation figures."""
    report: dict[str, float] = json.loads((out / _LOG).read_text("utf-8").splitlines()[-1])
    return report


@click.command(cls=Command)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--cache", type=click.Path(path_type=Path), help="Generated images; OUT/cache.")
@click.option(
    "--stage", type=click.IntRange(1, len(STAGES)), default=1, show_default=True, help="Which run."
)
@click.option(
    "--start",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Weights that the stage before left.",
)
@click.option("--seed", type=int, help="Seed of all randomness; the stage's own if not given.")
@click.option("--steps", type=int, help="Length; the stage's own if not given.")
@click.option("--device", default="cpu", show_default=True, help="Where it learns: cpu or cuda.")
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Processes that make the batches.",
)
def main(
    out: Path,
    cache: Path | None,
    stage: int,
    start: Path | None,
    seed: int | None,
    steps: int | None,
    device: str,
    workers: int,
) -> None:
    """Train the embedded backbone; a second call goes on where the first one stopped."""
    if (stage > 1) != (start is not None):
        raise InputError("--stage 1 starts from nothing, every other from --start FILE")
    recipe = STAGES[stage - 1]
    # Shards side by side beat threads in every small operation.
    torch.set_num_threads(max((os.cpu_count() or 1) // recipe.shards, 1))
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU
    cv2.setNumThreads(1)
    recipe = replace(recipe, seed=recipe.seed if seed is None else seed)
    recipe = replace(recipe, steps=steps or recipe.steps)
    state = None
    if start is not None:
        data = start.read_bytes()
        state = _start_state(data, start, recipe)
        recipe = replace(recipe, starts_from=hashlib.sha256(data).hexdigest())
    training = train(recipe, out, cache or out / "cache", 250, state, device, workers)
    path = publish(training, out)
    click.echo(f"{path}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


def _start_state(data: bytes, path: Path, recipe: Recipe) -> dict[str, Tensor]:
    state = whole_state(data, str(path))
    if missing := sorted(build_tiny(recipe.config).state_dict().keys() - state.keys()):
        raise InputError(
            f"{path} is no whole backbone, '{missing[0]}' is missing: give the file that the stage"
            " before wrote"
        )
    return state


if __name__ == "__main__":
    main()
