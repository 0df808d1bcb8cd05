"""The whole way in one command: train, export, calibrate, run, and say how good it is.

    python benchmarks/demo.py --out demo-out

Trains DIVE's prompts on generated images only, so that every photograph is unseen. The photographs
are solar cells (ELPV, from the package elpv-dataset; CC BY-NC-SA 4.0), which stay in the output
folder. The good cells that the threshold is calibrated with are left out of every figure.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zsad.command import Command
from zsad.errors import InputError

if TYPE_CHECKING:
    from steps import Step

LATENCY = Path(__file__).with_name("latency.py")


@dataclass(frozen=True)
class Settings:
    """Sizes that keep the demo under ten minutes on two cores."""

    train_images: int = 1024
    epochs: int = 3
    # 299 carry a promise of 1 % false rejects with 95 % confidence.
    calibration_parts: int = 299
    photographs_per_label: int = 12
    synthetic_images: int = 480
    latency_runs: int = 30
    seed: int = 0


@click.command(cls=Command)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo-out"),
    show_default=True,
    help="Folder for everything the demo makes.",
)
@click.option("--force", is_flag=True, help="Repeat every step; needed after a change of code.")
def main(out: Path, force: bool) -> None:
    """Train, export, calibrate, run on photographs, measure; leaves OUT/report.html.

    A second run repeats only what is missing or was changed on its command line.
    """
    from demo_summary import summary
    from steps import run_steps

    settings = Settings()
    real = real_data()
    if real is None:
        click.echo(
            "elpv-dataset is not installed (pip install 'zsad[demo]'): generated images of unseen "
            "classes stand in for photographs"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make folder {out}: {error.strerror}") from None
    seconds = run_steps(demo_steps(out, settings, real or "synthetic"), out, force)
    click.echo("\n" + summary(out, seconds))


def real_data() -> str | None:
    """Return the spec of the photographs, None where their package is not installed."""
    return "elpv" if importlib.util.find_spec("elpv_dataset") is not None else None


def demo_steps(out: Path, settings: Settings, photographs: str) -> list[Step]:
    """Return the steps from training to figures.

    Args:
        out: Folder for everything.
        settings: Sizes.
        photographs: Spec of the data set that stands for the customer's parts.
    """
    from photographs import pick_photographs
    from steps import Step

    s = settings
    ckpt, artifact, recipe = out / "dive.pt", out / "dive", out / "part.json"
    names, picked, run = out / "calibrated.txt", out / "photographs", out / "run"

    def command(*words: object) -> tuple[str, ...]:
        return tuple(map(str, words))

    return [
        Step(
            "train",
            "Learn DIVE's prompts on generated images; CLIP itself stays frozen.",
            command(
                "zsad-train", "--method", "dive", "--backbone", "tiny", "--data", "synthetic",
                "--limit", s.train_images, "--epochs", s.epochs, "--seed", s.seed,
                "--out", ckpt, "--force",
            ),
            (ckpt,),
        ),
        Step(
            "export",
            "Bake the text into an ONNX graph, in FP32 and FP16, and hold both against PyTorch.",
            command("zsad-export", "--ckpt", ckpt, "--fp16", "--out", artifact),
            (artifact / "manifest.json",),
        ),
        Step(
            "calibrate",
            "Take a decision threshold from good parts, with the promise they support.",
            command(
                "zsad-calibrate", artifact, "--good", photographs, "--limit", s.calibration_parts,
                "--seed", s.seed, "--recipe", recipe, "--names-out", names,
            ),
            (recipe, names),
        ),
        Step(
            "photographs",
            "Pick parts that the threshold has not seen, good and defective.",
            command("pick", s.photographs_per_label, "of each label from", photographs),
            (picked,),
            lambda: pick_photographs(
                photographs, names, picked, per_label=s.photographs_per_label, seed=s.seed
            ),
        ),
        Step(
            "run",
            "Judge them as a line would, with heat maps and a report.",
            command(
                "zsad-run", artifact, "--images", picked, "--recipe", recipe, "--out", run,
                "--overwrite",
            ),
            (run / "report.html",),
        ),
        Step(
            "accuracy",
            "Measure on all other parts, beside what plain image statistics reach.",
            command(
                "zsad-eval", artifact, "--data", photographs, "--exclude", names,
                "--recipe", recipe, "--out", out / "accuracy.json",
            ),
            (out / "accuracy.json",),
        ),
        Step(
            "unseen",
            "Measure on generated images of classes and defect types never trained on.",
            command(
                "zsad-eval", artifact, "--data", "synthetic", "--limit", s.synthetic_images,
                "--out", out / "unseen.json",
            ),
            (out / "unseen.json",),
        ),
        Step(
            "latency",
            "Time both graphs against PyTorch, from camera frame to verdict.",
            command(
                "python", LATENCY, artifact, "--ckpt", ckpt, "--runs", s.latency_runs,
                "--out", out / "latency.json",
            ),
            (out / "latency.json",),
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
