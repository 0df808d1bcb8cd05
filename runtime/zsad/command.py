"""The shell of every command: errors as one line, an exit code that means something."""

from __future__ import annotations

import errno
import logging
import math
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from zsad.credentials import mask_credentials
from zsad.errors import InputError, ZsadError

_INTERRUPTED = 130
_FULL = (errno.ENOSPC, errno.EDQUOT)


class FiniteRange(click.FloatRange):
    """A range of numbers; `nan` and `inf`, which Python reads as numbers, are none here."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail as click does."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found


class Command(click.Command):
    """A click command that ends with the exit code of the `ZsadError` it met.

    Use it as `@click.command(cls=Command)`. Exit codes: 0, 2 bad input, 3 parity gate, 4 an engine
    that does not build or run; 1 is a bug of ours and keeps its traceback. Ctrl-C ends with 130.
    Neither these lines nor the log nor a traceback shows a secret that was read (`learn_secret`).
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn a `ZsadError` into its one line on standard error."""
        _show_log()
        _mask_tracebacks()
        try:
            return super().invoke(ctx)
        except ZsadError as error:
            click.echo(f"{ctx.command_path}: error: {_one_line(error)}", err=True)
            ctx.exit(error.exit_code)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                click.echo(f"{ctx.command_path}: error: no file has so long a name", err=True)
                ctx.exit(InputError.exit_code)
            if error.errno not in _FULL:
                raise
            where = mask_credentials(f" for {error.filename}") if error.filename else ""
            click.echo(f"{ctx.command_path}: error: the disk is full{where}: free some", err=True)
            ctx.exit(InputError.exit_code)
        except KeyboardInterrupt:
            click.echo(f"{ctx.command_path}: interrupted", err=True)
            ctx.exit(_INTERRUPTED)


def check_writable(path: Path) -> None:
    """Refuse a file that cannot be written, before the minutes or hours whose result it is for.

    Raises:
        InputError: It is a folder, its own folder does not exist, or nothing can be written there.
    """
    if not path.parent.is_dir():
        raise InputError(f"folder {path.parent} does not exist: make it first")
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"nothing can be written into {path.parent}: {error.strerror}") from None


def _show_log() -> None:
    """Let what zsad itself has to say reach standard error, where Python stops at warnings."""
    logging.getLogger("zsad").setLevel(logging.INFO)
    if logging.lastResort is not None:
        logging.lastResort.setLevel(logging.INFO)
        logging.lastResort.setFormatter(_MaskingFormatter())


class _MaskingFormatter(logging.Formatter):
    """The log without credentials, those in other libraries' words and tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return mask_credentials(super().format(record))


def _mask_tracebacks() -> None:
    """Have what nobody caught printed without credentials, unless another program prints it."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_masked
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _print_masked_of_thread


def _print_masked(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    sys.stderr.write(mask_credentials("".join(traceback.format_exception(kind, error, trace))))


def _print_masked_of_thread(dead: threading.ExceptHookArgs) -> None:
    if dead.exc_type is not SystemExit:
        name = "unknown" if dead.thread is None else dead.thread.name
        sys.stderr.write(f"Exception in thread {name}:\n")
        _print_masked(dead.exc_type, dead.exc_value, dead.exc_traceback)


def _one_line(error: ZsadError) -> str:
    return mask_credentials(" ".join(str(error).split()))
