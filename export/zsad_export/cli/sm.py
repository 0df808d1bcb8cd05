"""The `--sm` option: compute capabilities as NVIDIA writes them, without the dot."""

from __future__ import annotations

from typing import Any

import click


class SmList(click.ParamType):
    """A comma-separated list of compute capabilities, such as `86,89,120`."""

    name = "list"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the numbers of the list; anything else ends the command with exit code 2."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdecimal() for part in parts):
            self.fail(f"'{value}' is not a list of compute capabilities such as 86,89,120")
        return tuple(int(part) for part in parts)
