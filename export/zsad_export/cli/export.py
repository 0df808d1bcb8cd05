"""`zsad-export`: a checkpoint becomes an artifact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zsad.command import Command
from zsad.words import parse_words
from zsad_export.cli.export_checks import (
    check_calibration,
    check_subject,
    check_targets,
    open_gate_data,
)
from zsad_export.cli.sm import parse_sms
from zsad_export.cli.written import print_graphs, print_int8, print_words
from zsad_train.methods import EXPORT_CHOICES, METHODS, UNTRAINED

if TYPE_CHECKING:
    from zsad.artifact import Artifact
    from zsad_train.checkpoint import Checkpoint


def _choice_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add a flag for every choice that some method leaves to the export."""
    for name, choice in EXPORT_CHOICES.items():
        kind = click.Choice(choice.values)
        help_text = f"{choice.help_text} [default: {choice.values[0]}]"
        command = click.option(f"--{name}", name, type=kind, help=help_text)(command)
    return command


@click.command(cls=Command)
@click.option("--ckpt", type=click.Path(path_type=Path), help="Checkpoint to bake.")
@click.option(
    "--method",
    type=click.Choice([*UNTRAINED, *METHODS]),
    help=f"Or one that needs no training ({', '.join(UNTRAINED)}); with --ckpt the method whose "
    "authors' code wrote that file.",
)
@click.option(
    "--backbone", help="With --method: `tiny`, `tiny-grain` or an open_clip name. [default: tiny]"
)
@click.option("--object", "thing", help="Without --ckpt: what the images show. [default: object]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Artifact directory. [default: beside --ckpt, or --method's name]",
)
@click.option("--fp32", is_flag=True, help="Write the FP32 graph; it is always written.")
@click.option("--fp16", is_flag=True, help="Also write an FP16 graph and make it the default.")
@click.option(
    "--int8",
    type=click.Choice(["all", "auto"]),
    is_flag=False,
    flag_value="all",
    help="Also write INT8 graphs: of the FP32 one for CPUs, with --fp16 of the FP16 one for GPUs. "
    "'--int8 auto' keeps the linears that it hurts most in float until the limits hold.",
)
@click.option(
    "--calib",
    metavar="DIR|SPEC",
    help="With --int8: frames of the line, or a data set. [default: generated frames]",
)
@click.option(
    "--calib-frames",
    type=click.IntRange(1),
    help="With --int8: how many of them are used. [default: 32]",
)
@click.option(
    "--sensitivity",
    is_flag=True,
    help="With --int8: measure what each linear does alone (large models: each block).",
)
@click.option(
    "--image-size",
    type=click.IntRange(1),
    help="Input side in px, if not training's or CLIP's.",
)
@click.option(
    "--pretrained",
    help="open_clip tag or path of the backbone's weights; for --ckpt where they are now.",
)
@click.option(
    "--defects",
    metavar="LIST",
    help="For methods that name types (dapo): those to look for, in English, comma-separated. "
    "[default: training's]",
)
@_choice_options
@click.option(
    "--gate-data",
    metavar="SPEC",
    help="Labelled images (elpv, folder:PATH, ...): hold each graph's AUROC against its budget.",
)
@click.option("--gate-limit", type=click.IntRange(1), help="At most so many of them.")
@click.option("--allow-parity-loss", is_flag=True, help="Record a failed parity gate, go on.")
@click.option("--no-engine", is_flag=True, help="Do not compile with TensorRT-RTX.")
@click.option("--sm", callback=parse_sms, help="Compute capabilities for TensorRT-RTX: 86,89,120.")
@click.option(
    "--triton",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also add the default graph to this Triton model repository (zsad-triton has options).",
)
def main(
    ckpt: Path | None,
    method: str | None,
    backbone: str | None,
    thing: str | None,
    out: Path | None,
    fp32: bool,
    fp16: bool,
    int8: str | None,
    calib: str | None,
    calib_frames: int | None,
    sensitivity: bool,
    image_size: int | None,
    pretrained: str | None,
    defects: str | None,
    gate_data: str | None,
    gate_limit: int | None,
    allow_parity_loss: bool,
    no_engine: bool,
    sm: tuple[int, ...] | None,
    triton: Path | None,
    **choices: str | None,
) -> None:
    """Turn a checkpoint, or a method that needs none, into an artifact.

    That is graphs, golden frames and a manifest. The graphs are held against the PyTorch reference
    from camera frame to anomaly map, and with --gate-data by their AUROC on labelled images; over
    the limits nothing is written and the exit code is 3.
    """
    del fp32  # the FP32 graph is the reference and is written whatever is asked for
    check_subject(ckpt, method, backbone, thing)  # before torch is imported, which takes seconds
    words = () if defects is None else parse_words(defects)
    check_calibration(int8, calib, calib_frames, sensitivity)
    labelled = open_gate_data(gate_data, gate_limit)
    if sm and not no_engine:
        check_targets(sm)
    if triton is not None:
        from zsad_export.triton import check_repository

        check_repository(triton)
    from zsad_export.export import export_checkpoint
    from zsad_export.int8_options import CALIBRATION_FRAMES, Int8Options

    frames = CALIBRATION_FRAMES if calib_frames is None else calib_frames
    quantization = Int8Options(int8 == "auto", sensitivity, calib, frames)

    checkpoint = _read_subject(ckpt, method, backbone, thing, pretrained, image_size)
    artifact = export_checkpoint(
        checkpoint,
        out or (Path(checkpoint.method_name) if ckpt is None else ckpt.with_suffix("")),
        fp16=fp16,
        int8=None if int8 is None else quantization,
        pretrained=pretrained,
        defects=words,
        choices={name: value for name, value in choices.items() if value is not None},
        gate_data=labelled,
        allow_parity_loss=allow_parity_loss,
        progress=lambda step: click.echo(f"{step} ...", err=True),
    )
    print_graphs(artifact)
    print_words(artifact)
    if int8 is not None:
        print_int8(artifact)
    if triton is not None:
        from zsad_export.triton import write_triton_model

        click.echo(f"Triton: {write_triton_model(artifact, triton)}")
    if not no_engine:
        _compile(artifact, sm)
    flag = artifact.manifest.default_precision
    click.echo(
        "not built: a TensorRT engine for the device, which only the device can build; there, "
        f"run: zsad-engine {artifact.path} --{flag}"
    )


def _read_subject(
    ckpt: Path | None,
    method: str | None,
    backbone: str | None,
    thing: str | None,
    pretrained: str | None,
    image_size: int | None,
) -> Checkpoint:
    from zsad_export.export import read_for_export
    from zsad_train.checkpoint import untrained_checkpoint
    from zsad_train.released import read_released

    if method is None:
        assert ckpt is not None
        return read_for_export(ckpt, image_size)
    name = backbone or "tiny"
    if ckpt is not None:
        return read_released(ckpt, method, name, pretrained=pretrained, image_size=image_size)
    thing = "object" if thing is None else thing
    return untrained_checkpoint(method, thing, name, pretrained=pretrained, image_size=image_size)


def _compile(artifact: Artifact, sms: tuple[int, ...] | None) -> None:
    from zsad.errors import MissingExtraError
    from zsad_export.engine import DEFAULT_SMS, build_rtx_engine

    try:
        for precision in artifact.manifest.graphs:
            built = build_rtx_engine(artifact, precision, sms or DEFAULT_SMS)  # type: ignore[arg-type]
            click.echo(f"TensorRT-RTX {precision}: {built.describe()}")
    except MissingExtraError as error:
        if sms:
            raise
        click.echo(f"not compiled: {error}")
