"""DIVE's question: how much is lost when the auxiliary set knows textures and few defects only?

DIVE (section 5.2.1) trains on textures alone, its limited priors, and on a varied set, its rich
priors, and reports a smaller drop than prompts without descriptions. Here both are generated, and
the test set is `synthetic`'s: classes that neither training shows, half the defects of types that
neither shows. The priors are limited for the prompts alone: the frozen backbone `tiny` learned from
the rich generator, so that the drop is smaller than a backbone of other origin would have.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accuracy_runs import Outcome, evaluated, outcome, trained
from accuracy_table import markdown, percent
from zsad_train.config import Job, TrainConfig

PRIORS = {"limited": "synthetic-texture", "rich": "synthetic"}
TESTED_ON = "synthetic"
METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}


@dataclass(frozen=True)
class Trial:
    """One training and its test.

    Attributes:
        method: The method.
        priors: A key of `PRIORS`.
        seed: Of parameters, order and generated images.
        images: Training images.
        epochs: Passes over them.
        test_images: Test images, the same for all.
    """

    method: str
    priors: str
    seed: int
    images: int
    epochs: int
    test_images: int


def run_trials(trials: Sequence[Trial], workers: int) -> list[tuple[Trial, Outcome]]:
    """Run trials side by side, one thread each."""
    with ProcessPoolExecutor(workers) as pool:
        return list(zip(trials, pool.map(run_trial, trials), strict=True))


def run_trial(trial: Trial) -> Outcome:
    """Train and test once, on the CPU, which is what makes runs of different machines alike."""
    import torch

    torch.set_num_threads(1)
    job = Job(
        data=PRIORS[trial.priors],
        method=trial.method,
        val="none",
        limit=trial.images,
        train=TrainConfig(epochs=trial.epochs, seed=trial.seed, device="cpu"),
    )
    with tempfile.TemporaryDirectory() as folder:
        ckpt = trained(job, Path(folder) / "trial.pt", lambda line: None)
        ((spec, found),) = evaluated(ckpt, [TESTED_ON], trial.test_images)
    return outcome(trial.seed, spec, found)


def records(results: Sequence[tuple[Trial, Outcome]]) -> list[dict[str, Any]]:
    """Return the trials and what they reached as plain JSON values."""
    return [{**asdict(trial), **asdict(reached)} for trial, reached in results]


def table(results: Sequence[tuple[Trial, Outcome]]) -> str:
    """Return means and spreads over the seeds, and what limited priors cost, as Markdown.

    The loss is rich minus limited of the same seed, in points: less is better.
    """
    rows = []
    for method in dict.fromkeys(trial.method for trial, _ in results):
        figures = [_by_seed(results, method, priors).values() for priors in PRIORS]
        for metric, name in METRICS.items():
            limited, rich = ([run[metric] for run in runs] for runs in figures)
            lost = _lost(results, method, metric)
            rows.append([method, name, percent(limited), percent(rich), percent(lost)])
    return markdown(["method", "metric", "limited priors", "rich priors", "lost"], rows)


def answer(results: Sequence[tuple[Trial, Outcome]], metric: str = "image_auroc") -> str:
    """Say for every other method whether DIVE lost less, seed by seed.

    The difference of the losses is paired over the seeds; within two standard errors of none the
    methods cannot be told apart.
    """
    lost = {m: _lost(results, m, metric) for m in dict.fromkeys(t.method for t, _ in results)}
    lines = []
    for other in lost.keys() - {"dive"}:
        less = 100 * (np.array(lost[other]) - np.array(lost["dive"]))
        error = float(less.std(ddof=1) / np.sqrt(less.size)) if less.size > 1 else float("inf")
        size = abs(float(less.mean()))
        verdict = (
            "cannot be told apart"
            if size <= 2 * error
            else ("DIVE lost less" if less.mean() > 0 else "DIVE lost more")
        )
        lines.append(
            f"{METRICS[metric]}, limited priors, DIVE against {other}: {verdict} "
            f"({less.mean():+.1f} points, standard error {error:.1f}, {less.size} seeds)"
        )
    return "\n".join(lines)


def _lost(results: Sequence[tuple[Trial, Outcome]], method: str, metric: str) -> list[float]:
    limited, rich = (_by_seed(results, method, priors) for priors in PRIORS)
    return [rich[seed][metric] - limited[seed][metric] for seed in sorted(rich)]


def _by_seed(
    results: Sequence[tuple[Trial, Outcome]], method: str, priors: str
) -> dict[int, Mapping[str, float]]:
    ordered = sorted(results, key=lambda result: result[0].seed)
    return {
        trial.seed: reached.figures
        for trial, reached in ordered
        if (trial.method, trial.priors) == (method, priors)
    }
