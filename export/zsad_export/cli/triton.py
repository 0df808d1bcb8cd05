"""`zsad-triton`: an artifact becomes a model of NVIDIA's Triton server, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from zsad.command import Command
from zsad.precision import PRECISIONS, Precision


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.argument("repository", type=click.Path(path_type=Path))
@click.option(
    "--precision", type=click.Choice(PRECISIONS), help="The graph. [default: the artifact's]"
)
@click.option("--engine", is_flag=True, help="Serve TensorRT's engine, built for this GPU.")
@click.option("--name", help="The model's name. [default: of artifact and precision]")
@click.option("--max-batch", default=8, show_default=True, help="Most frames joined into a run.")
@click.option(
    "--queue-delay-us",
    default=2000,
    show_default=True,
    help="How long a frame may wait for others, in microseconds.",
)
@click.option("--instances", default=1, show_default=True, help="Engines at once per GPU.")
@click.option(
    "--kind",
    type=click.Choice(["auto", "gpu", "cpu"]),
    default="auto",
    show_default=True,
    help="Where they run.",
)
def main(
    artifact: Path,
    repository: Path,
    precision: Precision | None,
    engine: bool,
    name: str | None,
    max_batch: int,
    queue_delay_us: int,
    instances: int,
    kind: str,
) -> None:
    """Add ARTIFACT to the Triton model repository in the folder REPOSITORY.

    The model's folder appears whole or not at all, with a README that states what clients send.
    """
    from zsad.artifact import Artifact
    from zsad_export.triton import check_repository, write_triton_model
    from zsad_export.triton_config import InstanceKind, TritonOptions

    options = TritonOptions(name, max_batch, queue_delay_us, instances, cast(InstanceKind, kind))
    check_repository(repository)  # before an engine is built, which takes minutes
    opened = Artifact.open(artifact)
    plan = None
    if engine:
        from zsad.engine_cache import BuildOptions
        from zsad_export.engine import build_native_engine

        plan = build_native_engine(opened, precision, BuildOptions(max_batch=max_batch)).path
    target = write_triton_model(opened, repository, precision, options, plan)
    click.echo(f"wrote {target}: tritonserver --model-repository={repository.resolve()}")
