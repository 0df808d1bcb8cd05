"""The `--sm` option: compute capabilities as NVIDIA writes them, without the dot."""

from __future__ import annotations

import click


def parse_sms(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Turn `86,89,120` into its numbers; anything else ends the command with exit code 2."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise click.BadParameter(f"'{value}' is not a list of compute capabilities: use 86,89,120")
    return tuple(int(part) for part in parts)
