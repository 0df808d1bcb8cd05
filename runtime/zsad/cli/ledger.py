"""`zsad-ledger`: read what the daemon wrote, and compute a verdict again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from zsad.backends import BACKENDS
from zsad.command import Command
from zsad.errors import InputError, ParityError

if TYPE_CHECKING:
    import sqlite3

    from zsad.ledger.rejudge import Replay
    from zsad.line.record import VerdictRecord

F = TypeVar("F", bound=Callable[..., Any])

_VERDICTS = ("OK", "NG", "NO_RESULT", "UNCALIBRATED")


def _ledger_option(command: F) -> F:
    return click.option(
        "--ledger",
        "folder",
        type=click.Path(path_type=Path),
        default=Path("ledger"),
        show_default=True,
        envvar="ZSAD_LEDGER",
        show_envvar=True,
        help="The ledger's folder.",
    )(command)


@click.group()
def main() -> None:
    """Read the ledger of verdicts that zsad-run wrote; the daemon may be running."""


@main.command("list", cls=Command)
@_ledger_option
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@click.option("--verdict", type=click.Choice(_VERDICTS), help="Only these.")
@click.option("--part", help="Only this part.")
def list_verdicts(folder: Path, last: int, verdict: str | None, part: str | None) -> None:
    """Show the newest verdicts, oldest first."""
    asked = {"verdict": verdict, "part": part}
    chosen = {name: value for name, value in asked.items() if value is not None}
    where = " AND ".join(["1", *(f"{name} = ?" for name in chosen)])
    query = (
        "SELECT seq, decided_utc, part, verdict, score, threshold, camera, reason FROM verdicts"
        f" WHERE {where} ORDER BY seq DESC LIMIT ?"
    )
    with _open(folder) as connection:
        found = connection.execute(query, (*chosen.values(), last)).fetchall()
    for seq, utc, name, said, score, threshold, camera, reason in reversed(found):
        compared = _compared(score, threshold)
        click.echo(f"{seq:>9}  {utc}  {said:<12}  {compared:<17}  {name}  {reason or camera or ''}")


@main.command(cls=Command)
@_ledger_option
@click.argument("seq", type=click.IntRange(1))
def show(folder: Path, seq: int) -> None:
    """Show everything about verdict SEQ: its record, its pictures, and who acknowledged it when."""
    from zsad.schema import to_json

    with _open(folder) as connection:
        record = _record(connection, seq)
        files = connection.execute("SELECT file FROM pictures WHERE seq = ?", (seq,)).fetchall()
        query = (
            "SELECT sink, acknowledged_utc FROM acknowledgements"
            " WHERE first_seq <= ? AND last_seq >= ? ORDER BY sink"
        )
        told = connection.execute(query, (seq, seq)).fetchall()
    shown = {
        "record": to_json(record),
        "pictures": [str(folder / file) for (file,) in files],
        "acknowledged_utc": dict(told),
    }
    click.echo(json.dumps(shown, indent=2))


@main.command(cls=Command)
@_ledger_option
@click.argument("seq", type=click.IntRange(1))
@click.option("--artifact", required=True, type=click.Path(path_type=Path), help="What judged it.")
@click.option(
    "--recipe",
    "recipes",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A recipe that it was judged by; once for each, in any order.",
)
@click.option(
    "--backend",
    type=click.Choice([name for name in BACKENDS if name != "auto"]),
    help="What runs the graph. Default: what ran it then, where scores have to be equal.",
)
def replay(
    folder: Path, seq: int, artifact: Path, recipes: tuple[Path, ...], backend: str | None
) -> None:
    """Compute verdict SEQ again from the frame that was kept; ends with 3 if it does not match."""
    from zsad.ledger.replay import replay as compute

    with _open(folder) as connection:
        record = _record(connection, seq)
    found = compute(record, folder, artifact, recipes, backend)
    _tell(found)
    if not found.matches:
        raise ParityError(f"verdict {seq} does not come out as it was recorded")
    exact = all(view.apart == 0 for view in found.views)
    how = "to the last bit" if exact else f"within {max(v.tolerance for v in found.views):g}"
    click.echo(f"verdict {seq} matches {how} on {found.views[0].backend}")


@main.command(cls=Command)
@_ledger_option
def verify(folder: Path) -> None:
    """Check database, numbers, records, pictures and audit; ends with 3 if anything is wrong."""
    from zsad.ledger.verify import check

    findings = 0
    for line in check(folder):
        click.echo(line)
        findings += 1
    if findings:
        raise ParityError(f"the ledger in {folder} is not whole: {findings} findings")
    with _open(folder) as connection:
        verdicts = connection.execute("SELECT count(*) FROM verdicts").fetchone()[0]
        last = connection.execute("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    click.echo(f"whole: {verdicts} verdicts")
    if last is not None:
        click.echo(f"audit: {last[0]} rows; note the newest hash elsewhere: {last[1]}")


@main.command(cls=Command)
@_ledger_option
def audit(folder: Path) -> None:
    """Show who changed what, when and why."""
    from zsad.ledger.audit import rows

    with _open(folder) as connection:
        for row in rows(connection):
            changed = "" if row.after is None else f": {row.before or 'nothing'} -> {row.after}"
            click.echo(f"{row.utc}  {row.kind}  {row.who}  {row.what}{changed}  ({row.reason})")


@main.command(cls=Command)
@_ledger_option
@click.option("--first", type=click.IntRange(1), default=1, show_default=True, help="From this.")
@click.option("--last", type=click.IntRange(1), help="To this. Default: the newest.")
@click.option(
    "--out", type=click.File("w", encoding="utf-8", lazy=False), default="-", help="File."
)
def export(folder: Path, first: int, last: int | None, out: TextIO) -> None:
    """Write records as lines of JSON, to standard output or a file."""
    query = "SELECT record FROM verdicts WHERE seq BETWEEN ? AND ? ORDER BY seq"
    with _open(folder) as connection:
        for (text,) in connection.execute(query, (first, sys.maxsize if last is None else last)):
            out.write(text + "\n")


@contextmanager
def _open(folder: Path) -> Iterator[sqlite3.Connection]:
    import sqlite3

    from zsad.ledger.database import FILE, open_to_read

    connection = open_to_read(folder / FILE)
    try:
        yield connection
    except sqlite3.Error as error:
        raise InputError(f"the ledger in {folder} cannot be read: {error}") from None
    finally:
        connection.close()


def _record(connection: sqlite3.Connection, seq: int) -> VerdictRecord:
    from zsad.ledger.rows import parse

    row = connection.execute("SELECT record FROM verdicts WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        low, high = connection.execute("SELECT min(seq), max(seq) FROM verdicts").fetchone()
        have = "it is empty" if low is None else f"it holds {low} to {high}"
        raise InputError(f"the ledger has no verdict {seq}: {have}")
    return parse(row[0], seq)


def _compared(score: float | None, threshold: float | None) -> str:
    if score is None:
        return "-"
    if threshold is None:
        return f"{score:.4f}"
    return f"{score:.4f} {'>' if score > threshold else '<='} {threshold:.4f}"


def _tell(found: Replay) -> None:
    for line in found.skipped:
        click.echo(f"left out: {line}")
    for view in found.views:
        agree = "" if view.within else "  DIFFERS"
        click.echo(
            f"view {view.view} ({view.camera}): recorded {view.recorded!r} {view.verdict},"
            f" now {view.computed!r} {view.computed_verdict}{agree}"
        )
    part = found.part
    if part.not_compared is not None:
        click.echo(f"part: {part.verdict}, not compared: {part.not_compared}")
    else:
        agree = "" if part.agrees else "  DIFFERS"
        click.echo(f"part: {part.verdict}, its views now say {part.computed}{agree}")
