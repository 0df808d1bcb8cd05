"""What a user would pick instead, side by side in one run: anomalib, AnomaVision, open_clip, torch.

    make peers
    python benchmarks/peers.py --peers-python .venv-peers/bin/python --json FILE.json

Each contender lives in a process of its own, loaded once, and they take turns from camera frame to
score and anomaly map. Weights are random, for downloads fail behind a firewall: time, memory and
size are compared, never accuracy. Ours are `winclip`, which anomalib has too, on the same backbone
at the same size, and DIVE on it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from method_costs import write_untrained
from options import json_option
from peer_loop import Setup
from peer_process import PeerError, started
from zsad.backends import BACKENDS
from zsad.command import Command
from zsad.errors import InputError

HERE = Path(__file__).parent
BACKBONE = "ViT-B-16-plus-240"
"""The only backbone of anomalib's WinCLIP."""

PAUSE_S = 0.3
"""Between contenders: PyTorch's threads spin for 0.2 s after their last task."""


@dataclass(frozen=True)
class Peer:
    """A contender and what a user should know before choosing it.

    Attributes:
        title: As the table names it.
        script: `peers_ours.py` or `peers_theirs.py`.
        name: Its name there.
        needs: What it must be given before its first verdict.
        cannot: What it does not do.
    """

    title: str
    script: str
    name: str
    needs: str
    cannot: str


THEIRS = (
    Peer("anomalib WinCLIP, torch", "peers_theirs.py", "anomalib-winclip-torch", "words",
         "240 px only; torch on the device"),
    Peer("anomalib WinCLIP, ONNX", "peers_theirs.py", "anomalib-winclip-onnx", "words",
         "240 px only; its graph resizes without antialiasing, its torch model with"),
    Peer("anomalib PatchCore, torch", "peers_theirs.py", "anomalib-patchcore-torch",
         "good frames of every part", "not zero-shot; torch on the device"),
    Peer("anomalib PatchCore, ONNX", "peers_theirs.py", "anomalib-patchcore-onnx",
         "good frames of every part", "not zero-shot; graph resizes without antialiasing"),
    Peer("anomalib PatchCore, OpenVINO", "peers_theirs.py", "anomalib-patchcore-openvino",
         "good frames of every part", "not zero-shot; graph resizes without antialiasing"),
    Peer("AnomaVision PaDiM, ONNX", "peers_theirs.py", "anomavision-padim-onnx",
         "good frames of every part", "not zero-shot; preprocessing needs torch"),
)  # fmt: skip


@click.command(cls=Command)
@click.option("--peers-python", type=click.Path(path_type=Path), help="Python with the packages of "
              "peers-requirements.txt; without it theirs read 'not run'.")  # fmt: skip
@click.option("--runs", type=click.IntRange(2), default=15, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="[default: every core]")
@click.option("--frame", default="1920x1080", show_default=True, help="Camera frame, WIDTHxHEIGHT.")
@click.option("--good-frames", type=click.IntRange(1), default=50, show_default=True,
              help="For those that learn from good parts.")  # fmt: skip
@click.option("--backend", "backends", multiple=True, default=("cpu",), show_default=True,
              type=click.Choice(BACKENDS), help="What runs our artifacts; repeatable.")  # fmt: skip
@click.option("--precision", "precisions", multiple=True, default=("fp32",), show_default=True,
              type=click.Choice(["fp32", "int8"]), help="Of ours; repeatable.")  # fmt: skip
@click.option("--backbone", default=BACKBONE, show_default=True, help="Of ours and open_clip.")
@json_option
def main(
    peers_python: Path | None,
    runs: int,
    threads: int | None,
    frame: str,
    good_frames: int,
    backends: tuple[str, ...],
    precisions: tuple[str, ...],
    backbone: str,
    json_path: Path | None,
) -> None:
    """Time every contender and print one table."""
    from latency import parse_size
    from machine import describe
    from zsad.host import usable_cores
    from zsad.schema import write_json

    if peers_python is not None and not peers_python.is_file():
        raise InputError(f"--peers-python {peers_python} is no file: make it with `make peers`")
    setup = Setup(parse_size(frame), threads or usable_cores(), "", good_frames)
    with tempfile.TemporaryDirectory() as folder:
        ours = our_peers(Path(folder), backbone, backends, precisions)
        jobs = [(peer, _with(setup, extra)) for peer, extra in ours]
        jobs += [(peer, setup) for peer in THEIRS]
        rows = measure(jobs, Path(folder), peers_python, runs)
    click.echo(table(rows))
    if json_path is not None:
        flags = {
            "frame_hw": setup.frame_hw,
            "threads": setup.threads,
            "good_frames": good_frames,
            "runs": runs,
            "backbone": backbone,
            "backends": backends,
            "precisions": precisions,
            "pause_s": PAUSE_S,
        }
        write_json(json_path, {"machine": describe(), "flags": flags, "rows": rows})
        click.echo(f"\n{json_path}")


def _with(setup: Setup, extra: Mapping[str, str]) -> Setup:
    return replace(setup, **extra)  # type: ignore[arg-type]


def our_peers(
    folder: Path, backbone: str, backends: Sequence[str], precisions: Sequence[str]
) -> list[tuple[Peer, dict[str, str]]]:
    """Export `winclip` and DIVE into `folder` and return them and what they are set against."""
    from zsad_export.export import export_checkpoint
    from zsad_export.int8_options import Int8Options
    from zsad_train.checkpoint import load_checkpoint, untrained_checkpoint

    winclip = untrained_checkpoint(
        "winclip", "object", backbone, pretrained="random:0", image_size=None
    )
    dive = load_checkpoint(write_untrained("dive", backbone, folder / "dive.pt"))
    int8 = Int8Options() if "int8" in precisions else None
    found: list[tuple[Peer, dict[str, str]]] = []
    for name, checkpoint in (("winclip", winclip), ("DIVE", dive)):
        artifact = folder / name
        # Random weights are a graph like any other for time, whatever INT8 does to their numbers.
        export_checkpoint(checkpoint, artifact, int8=int8, allow_parity_loss=int8 is not None)
        for backend in backends:
            for precision in precisions:
                extra = {"source": str(artifact), "backend": backend, "precision": precision}
                title = f"**zsad {name}**, {precision}, {backend}"
                found.append((Peer(title, "peers_ours.py", "zsad", "words", ""), extra))
    torch_only = "torch on the device"
    source = {"source": str(folder / "dive.pt")}
    eager = Peer("DIVE, PyTorch eager", "peers_ours.py", "eager", "words", torch_only)
    compiled = Peer("DIVE, torch.compile", "peers_ours.py", "compiled", "words",
                    f"{torch_only}, and a C++ compiler")  # fmt: skip
    found += [(eager, source), (compiled, source)]
    clip = Peer("open_clip, zero-shot class", "peers_ours.py", "open_clip", "words",
                f"no anomaly map; {torch_only}")  # fmt: skip
    return [*found, (clip, {"source": backbone})]


def measure(
    jobs: Sequence[tuple[Peer, Setup]], folder: Path, peers_python: Path | None, runs: int
) -> list[dict[str, Any]]:
    """Prepare, load and time all contenders; one that fails has its error in its row."""
    from timing import take_turns

    rows: dict[str, dict[str, Any]] = {}
    contenders: dict[str, Callable[[], dict[str, float]]] = {}
    with ExitStack() as stack:
        workers = {}
        for index, (peer, setup) in enumerate(jobs):
            rows[peer.title] = {"title": peer.title, "needs": peer.needs, "cannot": peer.cannot}
            own = folder / str(index)
            own.mkdir()
            python = Path(sys.executable) if peer.script == "peers_ours.py" else peers_python
            try:
                if python is None:
                    raise PeerError("not run: no --peers-python")
                command = [str(python), str(HERE / peer.script)]
                worker = stack.enter_context(started(command, peer.name, setup, own))
            except PeerError as error:
                rows[peer.title]["error"] = str(error)
                continue
            rows[peer.title] |= worker.facts
            workers[peer.title] = worker
            contenders[peer.title] = worker.run
        for title, latency in take_turns(contenders, runs, 2, pause_s=PAUSE_S).items():
            rows[title] |= {"ms": dict(latency.total_ms), "peak_bytes": workers[title].peak_bytes()}
    return list(rows.values())


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as Markdown; ratios are to the first one that ran, which should be ours."""
    from accuracy_table import markdown

    first = next((row["ms"]["p50"] for row in rows if "ms" in row), float("nan"))
    lines = [_line(row, first) for row in rows]
    head = [
        "contender",
        "ms",
        "of the first",
        "cold start s",
        "peak MB",
        "on disk MB",
        "needs",
        "cannot",
    ]
    return markdown(head, lines)


def _line(row: Mapping[str, Any], first: float) -> list[str]:
    if "error" in row:
        return [row["title"], row["error"], "", "", "", "", row["needs"], row["cannot"]]
    peak = row["peak_bytes"]
    return [
        row["title"],
        f"{row['ms']['p50']:.0f}",
        f"{row['ms']['p50'] / first:.2f}",
        f"{row['cold_start_s']:.1f}",
        "" if peak is None else f"{peak / 1e6:.0f}",
        f"{row['disk_bytes'] / 1e6:.0f}",
        row["needs"],
        row["cannot"],
    ]


if __name__ == "__main__":
    main()
