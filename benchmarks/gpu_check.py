"""Everything that wants an NVIDIA GPU, in one run and one JSON to send back.

    make gpu-check
    python benchmarks/gpu_check.py --artifact dive/ --out gpu-check.json

Builds engines with TensorRT and, where it is installed, TensorRT-RTX; holds them against the golden
frames of the artifact; times GPU, transfers and the whole apart, with and without a CUDA graph. A
missing piece is a line of the JSON, and the exit code says so: 0 all held, 2 something needed is
missing, 3 parity failed, 4 anything else did.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from zsad.command import Command


@click.command(cls=Command)
@click.option(
    "--artifact",
    type=click.Path(path_type=Path),
    help="Artifact to check. Default: WinCLIP on `tiny`, exported here, which needs torch.",
)
@click.option("--runs", type=click.IntRange(2), default=200, show_default=True, help="Timed runs.")
@click.option("--frame", default="1920x1080", show_default=True, help="Camera frame, WIDTHxHEIGHT.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("gpu-check.json"),
    show_default=True,
    help="The JSON.",
)
def main(artifact: Path | None, runs: int, frame: str, out: Path) -> None:
    """Check all that needs a GPU, and write one JSON to send back."""
    from gpu_findings import text
    from gpu_report import Plan, check_gpu
    from latency import parse_size
    from zsad.schema import write_json

    report = check_gpu(Plan(artifact, runs, parse_size(frame)))
    write_json(out, report)
    click.echo(text(report))
    click.echo(f"wrote {out}: please send it back")
    sys.exit(report.exit_code)


if __name__ == "__main__":
    main()
