"""`zsad-calibrate`: decision thresholds from good parts, into a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zsad.backends import BACKENDS
from zsad.command import Command, FiniteRange, check_writable
from zsad.precision import PRECISIONS

if TYPE_CHECKING:
    from zsad.detector import Detector
    from zsad.images import Scale16
    from zsad.inspection.config import Inspection
    from zsad.manifest import Precision
    from zsad.scores import ScoreKind


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--good",
    required=True,
    metavar="DIR|SPEC",
    help="Folder of good parts, or a data set whose good images are taken.",
)
@click.option(
    "--recipe",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write; calibrations of other graphs in it are kept where they still hold.",
)
@click.option(
    "--max-false-reject",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Share of good parts that may be rejected, such as 0.01; refused where the parts are too"
    " few to promise it. Default: the least that they support.",
)
@click.option(
    "--confidence",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Probability that this holds.",
)
@click.option(
    "--score-kind",
    type=click.Choice(["graph", "map_max", "map_top1pct"]),
    help="What is compared: the method's own score, or the maximum or the mean of the highest"
    " percent of the anomaly map. Default: graph; map_max with a region or tiles, which the"
    " method's own score knows nothing of.",
)
@click.option(
    "--roi",
    metavar="FILE|none",
    help="Polygons of what is judged and what is not (docs/calibrate.md); none: the whole frame."
    " Default: as the recipe has it.",
)
@click.option(
    "--ignore",
    "ignored",
    multiple=True,
    metavar="POLYGON",
    help="A polygon that is not judged, beside those of --roi, repeatable: 'x,y x,y x,y' in shares"
    " of the frame's width and height.",
)
@click.option(
    "--tiles",
    metavar="SIZE[:OVERLAP]|none",
    help="Cut frames into tiles of so many pixels, or HEIGHTxWIDTH, that overlap by at least so"
    " many (a quarter); none: in one piece. Default: as the recipe has it.",
)
@click.option(
    "--by-type",
    is_flag=True,
    help="Also a threshold for each defect type of the artifact; the promise covers all of them.",
)
@click.option(
    "--debounce",
    metavar="K/N",
    help="For free-running cameras: NG where K of the last N frames are. Default: as the recipe"
    " has it, else 1/1.",
)
@click.option(
    "--hysteresis",
    type=FiniteRange(0, 1, max_open=True),
    metavar="SHARE",
    help="For free-running cameras: after an NG, thresholds are lower by this share until a frame"
    " stays below them. Default: as the recipe has it, else 0.",
)
@click.option(
    "--each-frame-a-part",
    is_flag=True,
    help="Count frames that look alike as parts of their own: you know that no part was"
    " photographed twice.",
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
    score_kind: ScoreKind | None,
    roi: str | None,
    ignored: tuple[str, ...],
    tiles: str | None,
    by_type: bool,
    debounce: str | None,
    hysteresis: float | None,
    each_frame_a_part: bool,
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
    They must be drawn like those that will be judged. Frames that show a part again, as a burst of
    one still part does, count once.
    """
    from dataclasses import replace

    from zsad.recipe import read_recipe, write_recipe
    from zsad.schema import write_atomic
    from zsad.watch.likeness import cells_of
    from zsad_calibration.calibrate import Settings, calibrate
    from zsad_calibration.good_frames import UniqueFrames, good_frames
    from zsad_calibration.merge import merge
    from zsad_calibration.options import debounce_of, inspection_of, score_kind_of
    from zsad_calibration.summary import summary_lines

    for file in (recipe, names_out):
        if file is not None:
            check_writable(file)
    # An older recipe may be added to or replaced, any other file may not.
    old = read_recipe(recipe) if recipe.exists() else None
    inspection = inspection_of(old, roi, ignored, tiles)
    kind = score_kind_of(score_kind, inspection)
    rule = debounce_of(old, debounce, hysteresis)
    settings = Settings(kind, max_false_reject, confidence, scale_16bit, by_type)
    read = good_frames(good, seed, shuffle=limit is not None, scale_16bit=scale_16bit)
    frames = UniqueFrames(read, limit, each_frame_a_part, cells_of(inspection.roi))
    with ExitStack() as stack:
        opened = _detectors(artifact, precisions, backend, inspection)
        detectors = [stack.enter_context(detector) for detector in opened]
        made = calibrate(detectors, frames, settings)
        graphs = [f"{d.backend.precision} on {d.backend.provider}" for d in detectors]
    if names_out is not None:
        write_atomic(names_out, "".join(f"{name}\n" for name in frames.names).encode())
    merged = merge(old, made)
    write_recipe(recipe, replace(merged.recipe, debounce=rule))
    for line in summary_lines(recipe, frames, graphs, made, merged):
        click.echo(line)


def _detectors(
    path: Path, precisions: tuple[Precision, ...], backend: str, inspection: Inspection
) -> Iterator[Detector]:
    from zsad.artifact import Artifact
    from zsad.backends import open_backend
    from zsad.detector import Detector
    from zsad.inspection.tiles import images_at_once
    from zsad.manifest import PRECISIONS

    artifact = Artifact.open(path)
    present = tuple(p for p in PRECISIONS if p in artifact.manifest.graphs)
    for precision in dict.fromkeys(precisions) or present:
        at_once = images_at_once(1, inspection.tiles)
        opened = open_backend(artifact, precision, backend, batch=at_once)
        yield Detector(artifact, opened, inspection=inspection)
