"""`zsad-run --config`: a line from its file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zsad.credentials import mask_credentials
from zsad.errors import InputError

if TYPE_CHECKING:
    from zsad.line.assembly import Assembly
    from zsad.line.config import LineConfig


def run_config(path: Path, check: bool) -> None:
    """Run the line that a file describes, or only say whether it could run.

    Relative paths in the file are relative to its folder, which becomes the working directory.

    Raises:
        ZsadError: The file, or something that it names, cannot be used.
    """
    from zsad.line.config import LineConfig
    from zsad.line.effective import effective_text
    from zsad.line.references import Secrets
    from zsad.line.yaml_config import read_yaml

    if not path.is_file():
        raise InputError(f"--config {path} is not a file")
    file = path.resolve()
    os.chdir(file.parent)
    secrets = Secrets()
    config = read_yaml(LineConfig, file.name, secrets)
    effective = effective_text(config, secrets)
    if check:
        from zsad.line.check import check_line

        for line in check_line(config):
            click.echo(mask_credentials(line), err=True)
        click.echo(effective, nl=False)
        return
    _run(config, effective)


def _run(config: LineConfig, effective: str) -> None:
    from zsad.cli.signals import StopOnSignal
    from zsad.line.assembly import Assembly
    from zsad.line.service import Line
    from zsad.line.systemd import Notifier

    notifier = Notifier()
    with StopOnSignal() as stop:
        line = Line(Assembly(config, effective, notifier.watchdog_s), notifier)
        try:
            if line.start(stop):
                line.run(stop)
        finally:
            ended = line.stop()
            click.echo(summary(line.parts), err=True)
    # A thread in a native call would hold up the interpreter's own end.
    if not ended:
        os._exit(1)
    if line.is_loading:
        os._exit(0)


def summary(parts: Assembly) -> str:
    """Return where every frame went and how long each stage took, as text."""
    status = parts.monitor.status()
    lines = [f"{name:<14}{count:>10}" for name, count in sorted(status.verdicts.items())]
    lines.append(f"{'latency':<34}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}{'max ms':>10}")
    for stage, found in parts.latencies.percentiles().items():
        values = (found.p50_ms, found.p95_ms, found.p99_ms, found.max_ms)
        lines.append(f"  {stage:<32}" + "".join(f"{value:>10.1f}" for value in values))
    for camera, balance in parts.accounts.balances().items():
        dropped = ", ".join(f"{n} {why}" for why, n in sorted(balance.dropped.items()))
        lines.append(
            f"{camera}: {balance.captured} captured = {balance.judged} judged"
            f" + {sum(balance.dropped.values())} dropped{f' ({dropped})' if dropped else ''}"
            f" + {balance.in_flight} in flight"
        )
    return "\n".join(lines)
