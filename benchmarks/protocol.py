"""DIVE's question: how much is lost when the auxiliary set knows textures and few defects only?

DIVE (section 5.2.1) trains on textures alone, its limited priors, and on a varied set, its rich
priors, and reports a smaller drop than prompts without descriptions. Here both are generated, and
the test set is `synthetic`'s: classes and defect types that neither training shows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

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
        figures = {
            priors: _by_seed([r for r in results if (r[0].method, r[0].priors) == (method, priors)])
            for priors in PRIORS
        }
        for metric, name in METRICS.items():
            limited, rich = ([f[metric] for f in figures[p].values()] for p in PRIORS)
            lost = [b - a for a, b in zip(limited, rich, strict=True)]
            rows.append([method, name, percent(limited), percent(rich), percent(lost)])
    return markdown(["method", "metric", "limited priors", "rich priors", "lost"], rows)


def answer(results: Sequence[tuple[Trial, Outcome]], metric: str = "image_auroc") -> str:
    """Return in a sentence whether DIVE lost less than the others."""
    lost = {}
    for method in dict.fromkeys(trial.method for trial, _ in results):
        of = [
            mean(r.figures[metric] for t, r in results if (t.method, t.priors) == (method, priors))
            for priors in PRIORS
        ]
        lost[method] = 100 * (of[1] - of[0])
    said = ", ".join(f"{method} {points:+.1f}" for method, points in lost.items())
    least = min(lost, key=lambda method: lost[method])
    verdict = "Yes" if least == "dive" else f"No, {least} does"
    question = f"Does DIVE lose least when priors are limited ({METRICS[metric]}, points)?"
    return f"{question} {verdict} ({said})"


def _by_seed(results: Sequence[tuple[Trial, Outcome]]) -> dict[int, Mapping[str, float]]:
    ordered = sorted(results, key=lambda result: result[0].seed)
    return {trial.seed: reached.figures for trial, reached in ordered}
