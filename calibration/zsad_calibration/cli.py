"""`zsad-calibrate`: decision thresholds from good parts, into a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zsad.backends import BACKENDS
from zsad.command import Command
from zsad.precision import PRECISIONS

if TYPE_CHECKING:
    from zsad.detector import Detector
    from zsad.images import Scale16
    from zsad.manifest import Precision
    from zsad.recipe import Bound, Calibration, ScoreKind


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--good",
    required=True,
    metavar="DIR|SPEC",
    help="Folder of good parts, or a data set whose good images are taken.",
)
@click.option("--recipe", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option(
    "--max-false-reject",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Share of good parts that may be rejected, such as 0.01; refused where the parts are too"
    " few to promise it. Default: the least that they support.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Probability that this holds.",
)
@click.option(
    "--score-kind",
    type=click.Choice(["graph", "map_max", "map_top1pct"]),
    default="graph",
    show_default=True,
    help="What is compared: the method's own score, or the maximum or the mean of the highest"
    " percent of the anomaly map.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(PRECISIONS),
    multiple=True,
    help="Graph to calibrate, repeatable. Default: every graph of the artifact.",
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What runs the graphs.",
)
@click.option(
    "--scale-16bit",
    type=click.Choice(["10", "12", "14", "16", "minmax"]),
    help="Take 16-bit images of a folder, by the camera's significant bits or each stretched to its"
    " range; the recipe records it for zsad-run.",
)
@click.option("--limit", type=click.IntRange(1), help="A seeded choice of so many good parts.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Its seed.")
@click.option(
    "--names-out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write the names of the frames that were used, for zsad-eval --exclude.",
)
def main(
    artifact: Path,
    good: str,
    recipe: Path,
    max_false_reject: float | None,
    confidence: float,
    score_kind: ScoreKind,
    precisions: tuple[Precision, ...],
    backend: str,
    scale_16bit: Scale16 | None,
    limit: int | None,
    seed: int,
    names_out: Path | None,
) -> None:
    """Take decision thresholds for ARTIFACT from good parts and write them into a recipe.

    A threshold comes with the bound that the number of parts supports, whatever the distribution of
    their scores, and no better one: at most 1 % false rejects with 95 % confidence takes 299 parts.
    They must be drawn like those that will be judged, one frame per part.
    """
    from zsad.recipe import read_recipe, write_recipe
    from zsad.schema import write_atomic
    from zsad_calibration.calibrate import Settings, calibrate
    from zsad_calibration.good_frames import UniqueFrames, good_frames

    if recipe.exists():
        read_recipe(recipe)  # an older recipe may be replaced, any other file may not
    settings = Settings(score_kind, max_false_reject, confidence, scale_16bit)
    frames = UniqueFrames(
        good_frames(good, seed, shuffle=limit is not None, scale_16bit=scale_16bit), limit
    )
    with ExitStack() as stack:
        detectors = [stack.enter_context(d) for d in _detectors(artifact, precisions, backend)]
        made = calibrate(detectors, frames, settings)
        graphs = [f"{d.backend.precision} on {d.backend.provider}" for d in detectors]
    if names_out is not None:
        write_atomic(names_out, "".join(f"{name}\n" for name in frames.names).encode())
    write_recipe(recipe, made)
    click.echo(f"{recipe}: from {len(frames.names)} good frames, score kind {score_kind}")
    for graph, calibration in zip(graphs, made.calibrations, strict=True):
        click.echo(f"  {graph}: {_describe(calibration)}")
    click.echo(_promise(made.calibrations[0].bound))


def _detectors(path: Path, precisions: tuple[Precision, ...], backend: str) -> Iterator[Detector]:
    from zsad.artifact import Artifact
    from zsad.backends import open_backend
    from zsad.detector import Detector
    from zsad.manifest import PRECISIONS

    artifact = Artifact.open(path)
    present = tuple(p for p in PRECISIONS if p in artifact.manifest.graphs)
    for precision in dict.fromkeys(precisions) or present:
        yield Detector(artifact, open_backend(artifact, precision, backend))


def _describe(calibration: Calibration) -> str:
    low, high = calibration.good_scores[0], calibration.good_scores[-1]
    return f"NG above {calibration.threshold:.4f}, good parts score {low:.4f} to {high:.4f}"


def _promise(bound: Bound) -> str:
    from zsad_calibration.threshold import parts_needed, percent

    line = (
        f"{bound.n_unique} distinct frames support at most {percent(bound.max_false_reject)} false "
        f"rejects, with {percent(bound.confidence)} confidence"
    )
    needed = parts_needed(0.01, bound.confidence)
    return line if bound.n_unique >= needed else f"{line}; 1 % takes {needed}"
