"""`zsad-engine`: an engine for a device, built from an artifact without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from zsad.command import Command, check_writable
from zsad.errors import InputError
from zsad_export.cli.sm import parse_sms

if TYPE_CHECKING:
    from zsad.manifest import Precision


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--fp32", is_flag=True, help="Build the FP32 graph.")
@click.option("--fp16", is_flag=True, help="Build the FP16 graph.")
@click.option("--int8", is_flag=True, help="Build the INT8 graph, with FP32 around it.")
@click.option(
    "--int8-fp16", is_flag=True, help="Build the INT8 graph with FP16 around it: GPUs' faster one."
)
@click.option("--rtx", is_flag=True, help="Compile with TensorRT-RTX; needs no GPU.")
@click.option(
    "--sm", callback=parse_sms, help="With --rtx: compute capabilities. [default: 86,89,120]"
)
@click.option("--max-batch", default=8, show_default=True, help="Largest batch; tuned for one.")
@click.option(
    "--workspace-mib",
    type=click.IntRange(1),
    help="Largest scratch memory of a layer. Default: all; boards that share memory want less.",
)
@click.option(
    "--optimization-level",
    type=click.IntRange(0, 5),
    help="How long to search for fast kernels. Default: TensorRT's own, 3.",
)
@click.option(
    "--version-compatible", is_flag=True, help="For newer TensorRT releases too; may be slower."
)
@click.option(
    "--hardware-compatible",
    is_flag=True,
    help="For every GPU from Ampere on; may be slower. Not for Jetson.",
)
@click.option(
    "--tf32",
    is_flag=True,
    help="Let FP32 products round to TF32: faster, less exact. `--backend tensorrt-tf32` runs it,"
    " or `tensorrt-rtx-tf32`.",
)
@click.option(
    "--inspect",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.json",
    help="Write the engine's layers, with their types, as its inspector tells them.",
)
def main(
    artifact: Path,
    fp32: bool,
    fp16: bool,
    int8: bool,
    int8_fp16: bool,
    rtx: bool,
    sm: tuple[int, ...] | None,
    max_batch: int,
    workspace_mib: int | None,
    optimization_level: int | None,
    version_compatible: bool,
    hardware_compatible: bool,
    tf32: bool,
    inspect: Path | None,
) -> None:
    """Build the engine of ARTIFACT and put it into this device's cache.

    Without a precision the artifact's default graph is built. The cache is
    ~/.cache/zsad/engines, or below ZSAD_CACHE. `--backend tensorrt` of the other commands runs what
    is built here; without --backend they measure it once, and run it where it is the fastest.
    """
    if sm and not rtx:
        raise InputError("--sm goes with --rtx: without it the engine is for this machine's GPU")
    if rtx and (version_compatible or hardware_compatible):
        raise InputError("--version-compatible and --hardware-compatible are not for --rtx")
    if inspect is not None:
        _check_inspection(inspect, rtx)
    from zsad.artifact import Artifact
    from zsad.engine_cache import BuildOptions
    from zsad_export.cli.build_line import BuildLine
    from zsad_export.engine import (
        DEFAULT_SMS,
        build_native_engine,
        build_rtx_engine,
        write_inspection,
    )

    opened = Artifact.open(artifact)
    asked: dict[Precision, bool] = {
        "fp32": fp32,
        "fp16": fp16,
        "int8": int8,
        "int8_fp16": int8_fp16,
    }
    chosen = [precision for precision, wanted in asked.items() if wanted]
    chosen = chosen or [opened.manifest.default_precision]
    if inspect is not None and len(chosen) > 1:
        raise InputError("--inspect tells of one engine: name one precision")
    options = BuildOptions(
        max_batch, workspace_mib, optimization_level, version_compatible, hardware_compatible, tf32
    )
    for precision in chosen:
        with BuildLine(precision) as line:
            if rtx:
                built = build_rtx_engine(opened, precision, sm or DEFAULT_SMS, options, line.show)
            else:
                built = build_native_engine(opened, precision, options, line.show)
        click.echo(f"{precision}: {built.describe()}")
        if inspect is not None:
            write_inspection(built, inspect)
            click.echo(f"wrote {inspect}")


def _check_inspection(path: Path, rtx: bool) -> None:
    """Refuse, before a build that may take minutes, what cannot be inspected or written."""
    from zsad.device import find_gpu

    check_writable(path)
    if rtx:
        try:
            find_gpu()
        except InputError as error:
            raise InputError(
                f"--inspect: {error}, and TensorRT-RTX loads an engine only where its GPU is: "
                "leave it out, or run it there"
            ) from None
