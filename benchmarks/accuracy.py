"""The papers' tables, run: train on one data set, test on others, our figures beside theirs.

    python benchmarks/accuracy.py --set mvtec --root DATA --work runs/mvtec
    python benchmarks/accuracy.py --train-on synthetic --test-on elpv --test-on textile-local
    python benchmarks/accuracy.py --method winclip --test-on elpv
    python benchmarks/accuracy.py --protocol dive --json benchmarks/results/protocol-dive-tiny.json

The first wants the papers' backbone beside it: --backbone ViT-L-14-336-quickgelu --pretrained
openai --image-size 518. Sets that were not run read "not run by us". Nothing is chosen by what a
test set says.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from options import json_option
from zsad.command import Command
from zsad.errors import InputError
from zsad_train.config import Job, TrainConfig

if TYPE_CHECKING:
    from accuracy_plan import Plan
    from zsad_train.feature_cache import FeatureCache

FEATURE_CACHE_GB = 20.0
"""As zsad-train's own limit."""


@click.command(cls=Command)
@click.option("--paper", type=click.Choice(["dive", "faprompt"]), default="dive",
              show_default=True, help="Whose figures stand beside ours.")  # fmt: skip
@click.option("--method", help="What to train [default: the paper's own].")
@click.option("--set", "sets", multiple=True, metavar="NAME",
              help="Data set of the paper's table, in ROOT/NAME; repeatable.")  # fmt: skip
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the data sets.")
@click.option("--whole", is_flag=True, help="Whole sets, not cut to DIVE's Table 4.")
@click.option("--train-on", metavar="SPEC", help="Instead of the paper's auxiliary set; "
              "not for methods that learn nothing.")  # fmt: skip
@click.option("--test-on", multiple=True, metavar="SPEC", help="Instead of --set; repeatable.")
@click.option("--protocol", type=click.Choice(["dive"]),
              help="Limited against rich priors, on generated data.")  # fmt: skip
@click.option("--backbone", default="tiny", show_default=True,
              help="`tiny`, `tiny-grain` or an open_clip name.")  # fmt: skip
@click.option("--pretrained", help="open_clip tag or path to weights.")
@click.option("--image-size", type=int, help="Input side in pixels [default: the backbone's].")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training data.")
@click.option("--limit", type=click.IntRange(1), help="At most so many training images.")
@click.option("--test-images", type=click.IntRange(1), default=480, show_default=True,
              help="Test images of --protocol.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), help="Runs, from seed 0 [default: 1; 3].")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True,
              help="Runs at a time of --protocol.")  # fmt: skip
@click.option("--work", type=click.Path(file_okay=False, path_type=Path),
              help="Keeps the checkpoints; resumes.")  # fmt: skip
@click.option("--feature-cache", type=click.Path(path_type=Path), metavar="DIR",
              help="As of zsad-train: shared by epochs and seeds.")  # fmt: skip
@json_option
@click.pass_context
def main(
    ctx: click.Context, /, json_path: Path | None, protocol: str | None, **options: Any
) -> None:
    """Train, test, and print our figures beside a paper's."""
    from machine import describe
    from zsad.schema import write_json

    _refuse(ctx, _PAPER_ONLY if protocol else _PROTOCOL_ONLY, protocol is not None)
    record, text = _protocol(options) if protocol else _paper(options)
    click.echo(f"\n{text}")
    if json_path is not None:
        write_json(json_path, {"machine": describe(), **record})
        click.echo(f"\n{json_path}")


_PAPER_ONLY = ("paper", "sets", "root", "whole", "train_on", "test_on", "backbone", "pretrained",
               "image_size", "work", "feature_cache")  # fmt: skip
_PROTOCOL_ONLY = ("test_images", "workers")
_TRAINING_ONLY = ("epochs", "limit", "seeds", "feature_cache")


def _refuse(ctx: click.Context, names: tuple[str, ...], protocol: bool) -> None:
    typed = click.core.ParameterSource.COMMANDLINE
    for name in names:
        if ctx.get_parameter_source(name) is typed:
            flag = {"sets": "set"}.get(name, name).replace("_", "-")
            fits = "without --protocol" if protocol else "with --protocol"
            raise InputError(f"--{flag} does something {fits} only: leave it out")


def _paper(options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    import tempfile

    from accuracy_plan import as_dive_counts, plan
    from accuracy_runs import as_json, run
    from accuracy_table import paper_table, set_name

    method = _method(options)
    keys = ("paper", "sets", "root", "train_on", "test_on")
    chosen = plan(**{key: options[key] for key in keys}, method=method)
    with tempfile.TemporaryDirectory() as scratch:
        work = options["work"] or Path(scratch)
        if chosen.paper == "dive" and options["sets"] and not options["whole"]:
            chosen = as_dive_counts(chosen, work)
        job = _job(options, chosen, method)
        cache = _cache(options["feature_cache"])
        seeds = range(options["seeds"] or 1)
        outcomes = run(job, chosen.test_on, seeds, work, click.echo, cache)
    trained_on = set_name(chosen.train_on or "")
    text = paper_table(outcomes, chosen.paper, trained_on, method)
    subject = {"paper": chosen.paper, "trained_on": trained_on or None, "job": _plain(job)}
    return {**subject, "outcomes": as_json(outcomes)}, text


def _cache(folder: Path | None) -> FeatureCache | None:
    from zsad_train.feature_cache import FeatureCache

    return None if folder is None else FeatureCache(folder, FEATURE_CACHE_GB)


def _method(options: dict[str, Any]) -> str:
    from zsad_train.methods import METHODS, UNTRAINED

    method: str = options["method"] or options["paper"]
    known = METHODS | UNTRAINED
    if method not in known:
        raise InputError(
            f"zsad has no method '{method}': name one with --method, of {', '.join(known)}"
        )
    idle = [name for name in _TRAINING_ONLY if options[name] is not None]
    if method in UNTRAINED and idle:
        raise InputError(f"{method} learns nothing: leave --{idle[0].replace('_', '-')} out")
    return method


def _job(options: dict[str, Any], chosen: Plan, method: str) -> Job:
    from zsad_train.methods import training_defaults

    training = TrainConfig(**training_defaults(method, None))  # type: ignore[arg-type]
    return Job(
        data=chosen.train_on or "",
        split=chosen.split,
        method=method,
        backbone=options["backbone"],
        pretrained=options["pretrained"],
        image_size=options["image_size"],
        val="none",
        limit=options["limit"],
        train=replace(training, epochs=options["epochs"] or training.epochs),
    )


def _protocol(options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    from protocol import PRIORS, Trial, answer, records, run_trials, table

    methods = options["method"].split(",") if options["method"] else ["dive", "anomalyclip"]
    if "dive" not in methods or len(methods) < 2:
        raise InputError("--protocol dive compares: give --method dive and others, by commas")
    trials = [
        Trial(
            method,
            priors,
            seed,
            options["limit"] or 384,
            options["epochs"] or 4,
            options["test_images"],
        )
        for seed in range(options["seeds"] or 3)
        for method in methods
        for priors in PRIORS
    ]
    results = run_trials(trials, options["workers"])
    return {"trials": records(results)}, f"{table(results)}\n\n{answer(results)}"


def _plain(job: Job) -> dict[str, Any]:
    from accuracy_table import set_name
    from zsad.schema import to_json

    # Folders belong to whoever ran it.
    weights = job.pretrained and Path(job.pretrained).name
    plain: dict[str, Any] = to_json(replace(job, data=set_name(job.data), pretrained=weights))
    return plain


if __name__ == "__main__":
    main()
