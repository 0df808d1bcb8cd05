"""`zsad-plan`: what a model may take on a board that is not there yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from zsad.command import Command, FiniteRange
from zsad.errors import InputError

if TYPE_CHECKING:
    from zsad.plan.workload import Workload

_DEFAULT_MODELS = (
    ("ViT-B-32", 224),
    ("ViT-B-16", 224),
    ("ViT-L-14", 224),
    ("ViT-L-14-336", 336),
    ("ViT-L-14-336", 518),
)


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path), required=False)
@click.option("--device", "devices", multiple=True, help="Repeatable. [default: the Jetsons]")
@click.option("--takt-ms", type=FiniteRange(min=0, min_open=True), help="Time for one part.")
@click.option("--backbone", "backbones", multiple=True, help="An open_clip name; repeatable.")
@click.option("--size", "sizes", type=click.IntRange(1), multiple=True, help="Image side in px.")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["fp16", "int8"]),
    multiple=True,
    help="Repeatable. [default: both]",
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--vv-from-block",
    type=click.IntRange(0),
    help="With --backbone: the first block, from 0, with a V-V stream.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    artifact: Path | None,
    devices: tuple[str, ...],
    takt_ms: float | None,
    backbones: tuple[str, ...],
    sizes: tuple[int, ...],
    precisions: tuple[str, ...],
    batch: int,
    vv_from_block: int | None,
    as_json: bool,
) -> None:
    """Predict latency and memory of ARTIFACT, or of a CLIP's vision tower alone, on a device.

    Predicted from published figures, never measured. Of an artifact the graph is run once here on
    the CPU to count its arithmetic.
    """
    if artifact is not None and (backbones or sizes or vv_from_block is not None):
        raise InputError("ARTIFACT has its own backbone and size: leave out the options for them")
    import json

    from zsad.plan.devices import JETSONS, device_named
    from zsad.plan.predict import predict
    from zsad.plan.table import LABEL, plan_text
    from zsad.plan.workload import PLANNED_PRECISIONS
    from zsad.schema import to_json

    targets = [device_named(name) for name in dict.fromkeys(devices or JETSONS)]
    wanted = [p for p in PLANNED_PRECISIONS if p in precisions or not precisions]
    workloads = (
        _workloads(backbones, sizes, batch, vv_from_block)
        if artifact is None
        else [_counted(artifact, batch)]
    )
    found = [predict(w, device, p) for device in targets for w in workloads for p in wanted]
    if not as_json:
        click.echo(plan_text(found, takt_ms))
        return
    rows = [
        {**to_json(each), "takt": None if takt_ms is None else each.takt(takt_ms)} for each in found
    ]
    click.echo(json.dumps({"evidence": LABEL, "takt_ms": takt_ms, "predictions": rows}, indent=2))


def _workloads(
    backbones: tuple[str, ...], sizes: tuple[int, ...], batch: int, vv_from_block: int | None
) -> list[Workload]:
    from zsad.plan.vit import vision_shape
    from zsad.plan.workload import backbone_workload

    models = [
        (name, size)
        for name in backbones or dict.fromkeys(name for name, _ in _DEFAULT_MODELS)
        for size in sizes or (vision_shape(name).image_px,)
    ]
    if not backbones and not sizes:
        models = list(_DEFAULT_MODELS)
    return [
        backbone_workload(vision_shape(name), size, batch, vv_from_block) for name, size in models
    ]


def _counted(path: Path, batch: int) -> Workload:
    from zsad.artifact import Artifact
    from zsad.plan.workload import artifact_workload

    return artifact_workload(Artifact.open(path), batch)
