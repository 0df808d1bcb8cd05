"""Options that several benchmarks have."""

from __future__ import annotations

from pathlib import Path

import click

from zsad.backends import BACKENDS
from zsad.command import check_writable
from zsad.errors import InputError
from zsad.precision import PRECISIONS


class _Unwritable(click.ClickException):
    exit_code = InputError.exit_code


def check_folder(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a file that cannot be written where it is to be, before hours of measuring."""
    try:
        if path is not None:
            check_writable(path)
    except InputError as error:
        raise _Unwritable(str(error)) from None
    return path


json_option = click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    callback=check_folder,
    help="Also write a JSON.",
)
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
