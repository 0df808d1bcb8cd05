"""Options of the benchmarks that take each graph of an artifact on each engine."""

from __future__ import annotations

import click

from zsad.backends import BACKENDS
from zsad.precision import PRECISIONS

precisions_option = click.option(
    "--precision",
    "precisions",
    type=click.Choice(PRECISIONS),
    multiple=True,
    help="Graph to take, repeatable. Default: every graph of the artifact.",
)
backends_option = click.option(
    "--backend",
    "backends",
    type=click.Choice(BACKENDS),
    multiple=True,
    default=("auto",),
    show_default=True,
    help="What runs the graphs, as zsad-run takes it; repeatable.",
)
