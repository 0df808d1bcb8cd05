"""`zsad-doctor`: what this machine can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zsad.command import Command
from zsad.errors import InputError

if TYPE_CHECKING:
    from zsad.doctor import Check

_MARKS = {"ok": "ok", "absent": "-", "problem": "!!", "fatal": "XX"}


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def main(as_json: bool) -> None:
    """Say what this machine can run: engines, video, cameras, memory; each shortfall with its fix.

    Ends with 0 where an artifact can run, even if only on the CPU, else with 2.
    """
    import json

    try:
        from zsad.doctor import survey
        from zsad.schema import to_json
    except ImportError as error:
        raise InputError(
            f"no artifact can run here: {error}: pip install --force-reinstall zsad"
        ) from None

    checks = survey()
    fatal = [check for check in checks if check.status == "fatal"]
    if as_json:
        click.echo(json.dumps({"can_run": not fatal, "checks": to_json(checks)}, indent=2))
    else:
        click.echo("\n".join(map(_text, checks)))
    if fatal:
        raise InputError(f"no artifact can run here: {fatal[0].name}: {fatal[0].detail}")


def _text(check: Check) -> str:
    fix = f"\n{'':29}-> {check.fix}" if check.fix and check.status != "ok" else ""
    return f"{_MARKS[check.status]:>3}  {check.name:<22}  {check.detail}{fix}"
