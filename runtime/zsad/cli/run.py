"""`zsad-run`: judge a folder of images, a video file or a camera, or run a whole line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zsad.backends import BACKENDS
from zsad.command import Command, FiniteRange
from zsad.errors import InputError
from zsad.precision import PRECISIONS

if TYPE_CHECKING:
    from zsad.detector import Detector
    from zsad.images import Scale16
    from zsad.manifest import Precision
    from zsad.run import Limits
    from zsad.sources import Source
    from zsad.summary import RunSummary

_STREAM_SAVE_EVERY = 30


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path), required=False)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Run the line that this YAML file describes (docs/line.md), until SIGTERM or Ctrl-C.",
)
@click.option(
    "--check",
    is_flag=True,
    help="With --config: say whether the line could run, and print what is in effect.",
)
@click.option("--images", type=click.Path(path_type=Path), help="Folder of images to judge.")
@click.option(
    "--source",
    help="Camera to judge (/dev/v4l/by-id/..., rtsp://, http://, genicam:, csi:, or a GStreamer"
    " pipeline), opened again for ever when it is lost; or a video file.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for results.jsonl, overlays/ and report.html. Without it, the results go to"
    " standard output as lines of JSON.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in --out.")
@click.option("--recipe", type=click.Path(path_type=Path), help="Thresholds, of zsad-calibrate.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="Graph to run. Default: the artifact's own; on a CPU, fp32 rather than fp16.",
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What runs the graph; one that is named is used or is an error. auto is the fastest of"
    " cuda, cuda-graph, cpu, openvino and what zsad-engine built here for this graph.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads of the CPU.")
@click.option(
    "--spin/--no-spin",
    default=True,
    show_default=True,
    help="Whether ONNX Runtime's threads keep their cores while they wait for each other;"
    " --no-spin is for machines that have other work, too.",
)
@click.option(
    "--scale-16bit",
    type=click.Choice(["10", "12", "14", "16", "minmax"]),
    help="Take 16-bit images, by the camera's significant bits or each stretched to its range."
    " Default: as the recipe was calibrated.",
)
@click.option("--limit", type=click.IntRange(1), help="Stop after so many frames.")
@click.option("--duration-s", type=FiniteRange(0, min_open=True), help="Stop after this time.")
@click.option(
    "--stall-s",
    type=FiniteRange(0, min_open=True),
    help="Open a camera again after this time without a frame. Default: twenty frames at the"
    " camera's rate, at least 2 s; 10 s where no rate is known.",
)
@click.option(
    "--save-every",
    type=click.IntRange(0),
    help="Write the overlay of every so many frames, and of each NG; 0: of NG alone. Default: 1"
    f" for --images, {_STREAM_SAVE_EVERY} for --source.",
)
def main(
    artifact: Path | None,
    config: Path | None,
    check: bool,
    images: Path | None,
    source: str | None,
    out: Path | None,
    overwrite: bool,
    recipe: Path | None,
    precision: Precision | None,
    backend: str,
    threads: int | None,
    spin: bool,
    scale_16bit: Scale16 | None,
    limit: int | None,
    duration_s: float | None,
    stall_s: float | None,
    save_every: int | None,
) -> None:
    """Judge images or a video with ARTIFACT, the folder that zsad-export made; or run a line.

    An image that cannot be judged becomes a NO_RESULT row with its reason, and the run goes on.
    Ctrl-C ends a run in good order, with its report.
    """
    # OpenCV's warnings say less than our one line; FFmpeg's own errors, which say more, still come.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    if config is not None:
        from zsad.cli.line import run_config

        _refuse_others(click.get_current_context())
        run_config(config, check)
        return
    if check:
        raise InputError("--check needs --config FILE, the line that is to be checked")
    if artifact is None:
        raise InputError("say what judges: ARTIFACT, or --config FILE for a whole line")
    from zsad.backends.threads import Threads
    from zsad.detector import Detector
    from zsad.outputs import check_folder
    from zsad.recipe import agreed_scale
    from zsad.run import Limits

    if out is not None:
        check_folder(out, overwrite)
    if recipe is not None and images is not None:
        scale_16bit = agreed_scale(recipe, scale_16bit)
    frames = _open_frames(images, source, scale_16bit, stall_s)
    if save_every is None:
        save_every = 1 if images is not None else _STREAM_SAVE_EVERY
    used = Threads(threads, spin)
    with frames, Detector.load(artifact, recipe, precision, backend, used) as detector:
        _announce(detector)
        detector.warm_up()
        _run(detector, frames, out, save_every, Limits(limit, duration_s))


def _refuse_others(context: click.Context) -> None:
    """A line's file says everything; an option beside it would be ignored."""
    given = click.core.ParameterSource.COMMANDLINE
    for parameter in context.command.params:
        name = str(parameter.name)
        if name not in ("config", "check") and context.get_parameter_source(name) is given:
            said = "/".join([*parameter.opts, *parameter.secondary_opts])
            raise InputError(f"{said} goes without --config: say it in the line's file")


def _open_frames(
    images: Path | None, source: str | None, scale_16bit: Scale16 | None, stall_s: float | None
) -> Source:
    from zsad.sources import FolderSource, open_source

    if images is not None and source is None:
        return FolderSource(images, scale_16bit)
    if source is None or images is not None:
        raise InputError("say what to judge: either --images DIR or --source NAME")
    if scale_16bit is not None:
        raise InputError("--scale-16bit is for --images: a video or camera gives 8 bits")
    return open_source(source, stall_s)


def _announce(detector: Detector) -> None:
    graph = detector.graph
    click.echo(f"{graph.file} on {detector.backend.provider}", err=True)
    if detector.refusal is not None:
        click.echo(f"warning: every verdict will be NO_RESULT: {detector.refusal}", err=True)
    elif detector.calibration is None:
        click.echo("no --recipe: scores without a verdict (see zsad-calibrate)", err=True)


def _run(
    detector: Detector, frames: Source, out: Path | None, save_every: int, limits: Limits
) -> None:
    from zsad.cli.progress import Progress
    from zsad.cli.signals import StopOnSignal
    from zsad.outputs import REPORT, FolderOutput, LineOutput
    from zsad.run import run

    with StopOnSignal() as stop, Progress(frames.total) as progress:
        if out is None:
            lines = LineOutput(sys.stdout)
            summary = run(detector, frames, lines, limits, stop, progress.add)
        else:
            with FolderOutput(out, detector, frames.name, save_every) as folder:
                summary = run(detector, frames, folder, limits, stop, progress.add)
    click.echo(summary_table(summary), err=out is None)
    if out is not None and summary.judged:
        click.echo(f"report: {out / REPORT}")
    if stop.exit_code:
        click.get_current_context().exit(stop.exit_code)


def summary_table(summary: RunSummary) -> str:
    """Return the counts per verdict, the latency and the accounting of a run, as text."""
    lines = [f"{name:<14}{count:>10}" for name, count in sorted(summary.verdicts.items())]
    latencies = summary.percentiles_ms(50, 95)
    if latencies:
        lines.append(f"{'latency':<14}{'p50 ms':>10}{'p95 ms':>10}")
    for stage, (p50, p95) in latencies.items():
        lines.append(f"  {stage:<12}{p50:>10.1f}{p95:>10.1f}")
    lines.append(
        f"{summary.captured} captured = {summary.judged} judged + {summary.dropped} dropped,"
        f" in {summary.seconds:.1f} s"
    )
    return "\n".join(lines)
