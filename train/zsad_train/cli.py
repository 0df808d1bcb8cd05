"""`zsad-train`: learn a detector's prompts on a frozen CLIP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click

from zsad.command import Command, FiniteRange, check_writable
from zsad.errors import InputError
from zsad_train.config import AMP, Job, TrainConfig
from zsad_train.methods import (
    METHODS,
    UNTRAINED,
    check_learns,
    reading_note,
    training_defaults,
)


def _option(flag: str, name: str, help_text: str, **kwargs: Any) -> Callable[..., Any]:
    """Return a click option whose default is that of the field `name` of Job or TrainConfig."""
    defaults = {f.name: f.default for f in (*fields(TrainConfig), *fields(Job))}
    default = None if defaults[name] is MISSING else defaults[name]
    shown = default is not None and not isinstance(default, bool)
    return click.option(flag, name, default=default, show_default=shown, help=help_text, **kwargs)


@click.command(cls=Command)
@_option("--method", "method", "What to train.", type=click.Choice([*METHODS, *UNTRAINED]))
@_option("--preset", "preset", "Options by name: dive-paper, METHOD-released [default: --method].")
@_option("--backbone", "backbone",
         "`tiny`, `tiny-grain` or an open_clip name (ViT-L-14-336-quickgelu).")  # fmt: skip
@_option("--pretrained", "pretrained", "open_clip tag, path to weights, or `random`.")
@_option("--image-size", "image_size", "Input side in pixels [default: the backbone's].", type=int)
@_option("--data", "data", "Training data: synthetic, folder:PATH, ...", metavar="SPEC")
@_option("--split", "split", "Its split; `all` where the train split has no defects.")
@_option("--val", "val", "Validation data, or `none` [default: that of generated data].",
         metavar="SPEC")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The checkpoint.")
@_option("--epochs", "epochs", "Passes over the data; mrad and entroad have their own.", type=int)
@_option("--batch-size", "batch_size", "Images per step.", type=int)
@_option("--lr", "lr_prompts", "Learning rate of the prompts; the same holds.", type=float)
@_option("--lr-cross-attention", "lr_cross_attention", "That of cross-attention.", type=float)
@_option("--lr-mlp", "lr_mlp", "That of the disentangling branches.", type=float)
@_option("--limit", "limit", "At most this many training images.", type=int)
@_option("--val-limit", "val_limit", "At most this many validation images.", type=int)
@_option("--seed", "seed", "Seeds everything; the same seed gives the same weights.", type=int)
@_option("--amp", "amp", "Towers in bfloat16.", type=click.Choice(list(AMP)))
@_option("--grad-checkpointing", "grad_checkpointing", "Less memory, slower.", is_flag=True)
@_option("--abnormal-prompts", "abnormal_prompts", "Abnormal prompts; 1 is DIVE's paper.",
         type=int)  # fmt: skip
@_option("--vv-from-block", "vv_from_block", "Read the map from a V-V stream from here.", type=int)
@_option("--descriptions", "descriptions", "JSON of state descriptions (docs/descriptions.md).",
         metavar="FILE")  # fmt: skip
@_option("--workers", "workers", "Processes that load images.", type=int)
@_option("--device", "device", "cpu, cuda or auto.")
@click.option("--feature-cache", type=click.Path(path_type=Path), metavar="DIR",
              help="Keep the features of a tower that no gradient reaches.")  # fmt: skip
@click.option("--feature-cache-gb", type=FiniteRange(0, min_open=True), default=20.0,
              show_default=True, help="What all of them may take.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with --out; other options come from it.")
@click.option("--force", is_flag=True, help="Overwrite --out.")
@click.pass_context
def main(
    ctx: click.Context,
    /,
    out: Path,
    feature_cache: Path | None,
    feature_cache_gb: float,
    resume: bool,
    force: bool,
    **options: Any,
) -> None:
    """Learn the prompts of a zero-shot anomaly detector on a frozen CLIP.

    Writes a checkpoint after every epoch, and the learning curves as JSON beside it. Ctrl-C loses
    at most the running epoch; --resume goes on to the bit.
    """
    _check_out(out, resume=resume, force=force)
    if not resume:
        check_learns(options["method"])
    if not resume and options["data"] is None:
        raise InputError("--data is missing: name the training data, for example --data synthetic")
    from zsad_train import run  # heavy: torch
    from zsad_train.feature_cache import FeatureCache

    cache = None if feature_cache is None else FeatureCache(feature_cache, feature_cache_gb)
    if resume:
        records = run.resume(out, _given(ctx, options), _report, cache)
    else:
        job = _job({**options, **_method_defaults(ctx, options)})
        if note := reading_note(job.method):
            click.echo(f"note: {note}", err=True)
        records = run.train(job, out, _report, cache)
    click.echo(f"{out}: {len(records)} epochs")


def _check_out(out: Path, *, resume: bool, force: bool) -> None:
    if resume and force:
        raise InputError("--resume goes on and --force starts anew: give one of them")
    if resume and not out.is_file():
        raise InputError(f"nothing to resume: {out} does not exist; leave --resume out to start")
    check_writable(out)
    if out.exists() and not (resume or force):
        raise InputError(f"{out} exists: go on with --resume, or overwrite it with --force")


def _job(options: dict[str, Any]) -> Job:
    names = {f.name for f in fields(TrainConfig)}
    training = TrainConfig(**{name: options[name] for name in names & options.keys()})
    return Job(**{n: v for n, v in options.items() if n not in names}, train=training)


def _method_defaults(ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Return what the method is trained with where nothing was typed."""
    typed = _given(ctx, options)
    defaults = training_defaults(options["method"], options["preset"])
    return {name: value for name, value in defaults.items() if name not in typed}


def _given(ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were typed, not defaulted."""
    typed = click.core.ParameterSource.COMMANDLINE
    return {n: v for n, v in options.items() if ctx.get_parameter_source(n) is typed}


def _report(record: Any) -> None:
    figures = {"loss": record.loss["total"], **record.val}
    shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    click.echo(f"epoch {record.epoch}: {shown}, {record.seconds:.1f} s")
