"""One finding about this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "absent", "problem", "fatal"]
"""`absent` is optional and not there, `problem` is there and wrong, `fatal` means that no artifact
can run."""


@dataclass(frozen=True)
class Check:
    """What was found, and the fix where something falls short.

    Attributes:
        name: What was looked at.
        status: How it stands.
        detail: What was found, in one line.
        fix: What to do about it; None where nothing needs doing.
    """

    name: str
    status: Status
    detail: str
    fix: str | None = None
