"""What each identity of the baked graph buys: beside the form that it replaces, in the same run.

    python benchmarks/identities.py --backbone ViT-B-16 --json benchmarks/results/identities.json

Both forms run in PyTorch eager and, exported, in ONNX Runtime on the CPU, in rounds of changing
order; they are compared within a round, and their outputs are the same, or it fails. An engine
finds some identities by itself, which the two ratios show. A part's times are multiplied by how
often an image meets it, and stand beside the vision tower's, so that a large ratio of little is
seen to be little.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from accuracy_table import markdown
from options import json_option
from rounds import Open, Round, drift, median_ms, notes, ratios, take_rounds
from timing import Stages, timed_run
from zsad.command import Command

if TYPE_CHECKING:
    from torch import Tensor, nn

    from identity_forms import Pair
    from zsad_train.towers.vision import VisionTower

TOWER = "the vision tower"
TOLERANCE = 1e-4
"""Largest difference of the two forms, over the largest value."""


@dataclass(frozen=True)
class Saving:
    """One identity on one backbone; times and arithmetic are those of one image.

    Attributes:
        identity: What it says.
        naive_ms: Median of the form that it replaces, in ONNX Runtime.
        ms: Median of the form in the graph, in ONNX Runtime.
        times_faster: Their ratio within a round, the median of all rounds.
        lowest, highest: The smallest and the largest of these ratios.
        eager_times_faster: As `times_faster`, in PyTorch eager.
        saved_share: Time saved, over that of the vision tower, in ONNX Runtime.
        naive_gflop: Arithmetic of the form that it replaces, in 1e9.
        gflop: Of the form in the graph.
    """

    identity: str
    naive_ms: float
    ms: float
    times_faster: float
    lowest: float
    highest: float
    eager_times_faster: float
    saved_share: float
    naive_gflop: float
    gflop: float


@click.command(cls=Command)
@click.option("--backbone", "name", default="ViT-B-16", show_default=True)
@click.option("--rounds", type=click.IntRange(2), default=6, show_default=True, help="All of them.")
@click.option("--runs", type=click.IntRange(1), default=9, show_default=True, help="In a round.")
@click.option("--warm-up", type=click.IntRange(0), default=3, show_default=True, help="Likewise.")
@click.option("--threads", type=click.IntRange(1), help="Threads. Default: the library's choice.")
@json_option
def main(
    name: str, rounds: int, runs: int, warm_up: int, threads: int | None, json_path: Path | None
) -> None:
    """Time every identity against what it replaces and print the table."""
    from identity_forms import pairs
    from machine import describe
    from zsad.schema import write_json
    from zsad_train.towers import load_backbone
    from zsad_train.towers.source import TINY

    pretrained = None if name in TINY else "random:0"
    backbone = load_backbone(name, pretrained=pretrained, pos_resize="bilinear")
    found = pairs(backbone)
    measured = take_rounds(contenders(found, backbone.vision, threads), rounds, runs, warm_up)
    savings = [saving(pair, measured, *flops(pair)) for pair in found]
    drifted = drift(measured)
    click.echo("\n".join([table(savings), *notes(drifted)]))
    if json_path is not None:
        asked = {"backbone": name, "runs": runs, "warm_up": warm_up, "threads": threads}
        result = {"savings": savings, "drift": drifted, "rounds": measured}
        write_json(json_path, {"machine": describe(), **asked, **result})
        click.echo(str(json_path))


def contenders(
    found: Sequence[Pair], tower: VisionTower, threads: int | None
) -> Mapping[str, Open]:
    """Return the tower and both forms of every pair, exported and in eager, ready to be timed.

    Raises:
        RuntimeError: The two forms of a pair differ.
    """
    import torch

    from identity_forms import ImageFeature

    if threads is not None:
        torch.set_num_threads(threads)
    image = torch.randn(1, 3, *tower.image_hw)
    runs = {TOWER: exported(ImageFeature(tower), image, threads)}
    for pair in found:
        check_same(pair)
        for form, module in (("naive", pair.naive), ("ours", pair.ours)):
            runs[f"{form} {pair.name}"] = exported(module, pair.example, threads)
            runs[f"eager {form} {pair.name}"] = eager(module, pair.example)
    return {name: _ready(run) for name, run in runs.items()}


def _ready(run: Callable[[], Stages]) -> Open:
    return lambda: run


def flops(pair: Pair) -> tuple[int, int]:
    """Return the arithmetic of one run of either form."""
    from method_costs import flop_run

    return flop_run(pair.naive, pair.example), flop_run(pair.ours, pair.example)


def saving(pair: Pair, measured: Sequence[Round], naive_flop: int, flop: int) -> Saving:
    """Return what a pair saves of an image, given the rounds of all contenders."""
    naive, ours = (f"{form} {pair.name}" for form in ("naive", "ours"))
    naive_ms, ms = (pair.times * median_ms(measured, name) for name in (naive, ours))
    faster = sorted(ratios(measured, naive, ours))
    eager_faster = ratios(measured, f"eager {naive}", f"eager {ours}")
    return Saving(
        identity=pair.name,
        naive_ms=naive_ms,
        ms=ms,
        times_faster=median(faster),
        lowest=faster[0],
        highest=faster[-1],
        eager_times_faster=median(eager_faster),
        saved_share=(naive_ms - ms) / median_ms(measured, TOWER),
        naive_gflop=pair.times * naive_flop / 1e9,
        gflop=pair.times * flop / 1e9,
    )


def check_same(pair: Pair) -> None:
    """Stop where the two forms of an identity differ.

    Raises:
        RuntimeError: They do.
    """
    import torch

    with torch.inference_mode():
        expected, found = pair.naive(pair.example), pair.ours(pair.example)
    error = float((expected - found).abs().max())
    if error > TOLERANCE * float(expected.abs().max()):
        raise RuntimeError(f"the forms of '{pair.name}' differ by {error:.2g}")


def eager(module: nn.Module, example: Tensor) -> Callable[[], Stages]:
    """Return what runs a module once in PyTorch eager."""
    import torch

    run = torch.inference_mode()(lambda: module(example))
    return timed_run(run)


def exported(module: nn.Module, example: Tensor, threads: int | None) -> Callable[[], Stages]:
    """Export a module and return what runs it once in ONNX Runtime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    # Many sessions whose threads spin for a while after a run would slow each other down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory() as folder:
        path = export(module, example, Path(folder))
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: example.numpy()}
    return timed_run(lambda: session.run(None, feeds))


def export(module: nn.Module, example: Tensor, folder: Path) -> Path:
    """Write a module of one tensor to a folder as ONNX and return the file."""
    import torch

    program = torch.onnx.export(
        module.eval(), (example,), dynamo=True, opset_version=20, verbose=False
    )
    assert program is not None
    program.save(folder / "part.onnx", external_data=True)
    return folder / "part.onnx"


def table(savings: Sequence[Saving]) -> str:
    """Return the savings as a Markdown table."""
    head = [
        "identity",
        "naive, ms",
        "ms",
        "times as fast",
        "over the rounds",
        "in eager",
        "saved, of the tower",
        "GFLOP",
    ]
    rows = [
        [
            each.identity,
            f"{each.naive_ms:.2f}",
            f"{each.ms:.2f}",
            f"{each.times_faster:.2f}",
            f"{each.lowest:.2f} to {each.highest:.2f}",
            f"{each.eager_times_faster:.2f}",
            f"{each.saved_share:.1%}",
            f"{each.naive_gflop:.3f} -> {each.gflop:.3f}",
        ]
        for each in savings
    ]
    return markdown(head, rows)


if __name__ == "__main__":
    main()
