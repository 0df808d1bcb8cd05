"""Errors that a user can act on, each with the exit code its command ends with."""

from __future__ import annotations


class ZsadError(Exception):
    """A failure explained in one line that names the thing and the fix.

    Commands print the line to standard error and exit with `exit_code`; anything that is not a
    `ZsadError` is a bug of ours and ends with 1.
    """

    exit_code = 1


class InputError(ZsadError, ValueError):
    """Bad input: a file, an option or an image that cannot be used."""

    exit_code = 2


class MissingExtraError(InputError):
    """An optional package that is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """Name `package`, the `extra` that brings it and the `purpose` it was wanted for."""
        super().__init__(
            f"{purpose} needs '{package}', which is not installed: pip install 'zsad[{extra}]'"
        )


class InferenceError(ZsadError):
    """An inference engine that failed while it ran; the frame it was given has no result."""

    exit_code = 4


class LedgerError(ZsadError):
    """The ledger could not make something durable; what it was about counts as not said."""


class ParityError(ZsadError):
    """A graph, or a verdict computed again, differs from its reference by more than is allowed."""

    exit_code = 3


class EngineError(ZsadError):
    """A compiler refused a graph, or built something other than what was asked for."""

    exit_code = 4
