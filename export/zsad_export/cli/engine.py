"""`zsad-engine`: an engine for a device, built from an artifact without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from zsad.command import Command
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
def main(
    artifact: Path,
    fp32: bool,
    fp16: bool,
    int8: bool,
    int8_fp16: bool,
    rtx: bool,
    sm: tuple[int, ...] | None,
    max_batch: int,
) -> None:
    """Build the engine of ARTIFACT and put it into this device's cache.

    Without a precision the artifact's default graph is built. The cache is
    ~/.cache/zsad/engines, or below ZSAD_CACHE.
    """
    if sm and not rtx:
        raise InputError("--sm goes with --rtx: without it the engine is for this machine's GPU")
    from zsad.artifact import Artifact
    from zsad_export.engine import DEFAULT_SMS, build_native_engine, build_rtx_engine

    opened = Artifact.open(artifact)
    asked: dict[Precision, bool] = {
        "fp32": fp32,
        "fp16": fp16,
        "int8": int8,
        "int8_fp16": int8_fp16,
    }
    chosen = [precision for precision, wanted in asked.items() if wanted]
    for precision in chosen or [opened.manifest.default_precision]:
        if rtx:
            built = build_rtx_engine(opened, precision, sm or DEFAULT_SMS, max_batch)
        else:
            built = build_native_engine(opened, precision, max_batch)
        click.echo(f"{precision}: {built.describe()}")
