"""What every method costs: what it learns, arithmetic of an image, size of its graph.

    python benchmarks/method_costs.py --json benchmarks/results/method-costs.json

Counts, not timings: they are the same on every machine and need no trained weights. The backbone is
the papers' unless another is named, with random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accuracy_table import markdown
from options import json_option
from zsad.command import Command

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from zsad_train.methods.base import Method
    from zsad_train.towers import Backbone

PAPERS_BACKBONE = "ViT-L-14-336-quickgelu"
SIZES = (336, 518)
TYPES = ("scratch", "dent", "hole", "stain", "missing part")
"""Defect words of a method that names types."""


@dataclass(frozen=True)
class Cost:
    """One method at one image size.

    Attributes:
        method: Its name.
        image_px: Side of the image.
        learned: Numbers that training changes.
        gflop: Of the exported graph and one image, in 1e9; a multiplication and an addition are
            two.
        gflop_unbaked: Of PyTorch's forward pass, which encodes all text anew, to its last end
            token.
        graph_mb: Float32 weights and constants of the graph, in 1e6 bytes.
    """

    method: str
    image_px: int
    learned: int
    gflop: float
    gflop_unbaked: float
    graph_mb: float


@click.command(cls=Command)
@click.option("--backbone", "name", default=PAPERS_BACKBONE, show_default=True)
@click.option("--method", "methods", multiple=True, help="A method; repeatable; all if not given.")
@click.option("--size", "sizes", multiple=True, type=click.IntRange(1), help="Image side in px.")
@json_option
def main(
    name: str, methods: tuple[str, ...], sizes: tuple[int, ...], json_path: Path | None
) -> None:
    """Count every method and print a table."""
    from tqdm import tqdm

    from zsad.schema import write_json
    from zsad_train.methods import METHODS, UNTRAINED, method_class

    chosen = methods or (*METHODS, *UNTRAINED)
    for method in chosen:
        method_class(method)  # refused before a backbone is loaded
    jobs = [(size, method) for size in sizes or SIZES for method in chosen]
    costs = [measure(method, name, size) for size, method in tqdm(jobs, disable=None)]
    click.echo(table(costs))
    if json_path is not None:
        write_json(json_path, {"backbone": name, "costs": [asdict(cost) for cost in costs]})
        click.echo(str(json_path))


def measure(name: str, backbone: str, image_px: int) -> Cost:
    """Count one method on a backbone of random weights."""
    import torch

    from zsad_train.methods import method_class
    from zsad_train.methods.base import ClosedText

    loaded = _random_backbone(backbone, image_px, method_class(name).pos_resize)
    method = build(name, loaded)
    learned = sum(p.numel() for p in method.parameters() if p.requires_grad)
    method.requires_grad_(False)
    images = torch.zeros(1, 3, *loaded.info.image_hw)
    program = exported(ClosedText(method), images)
    return Cost(
        method=name,
        image_px=image_px,
        learned=learned,
        gflop=sum(node_flop(node) for node in program.graph.nodes) / 1e9,
        gflop_unbaked=flop_run(method, images) / 1e9,
        graph_mb=sum(t.numel() * t.element_size() for t in reached(program)) / 1e6,
    )


def write_untrained(method: str, backbone: str, path: Path) -> Path:
    """Write a checkpoint of a method as it is before training, on a backbone of random weights."""
    import torch

    from zsad_train.checkpoint import save_checkpoint
    from zsad_train.methods import method_class
    from zsad_train.towers import load_backbone

    resize = method_class(method).pos_resize
    loaded = load_backbone(backbone, pretrained="random:0", pos_resize=resize)
    torch.manual_seed(0)
    save_checkpoint(path, build(method, loaded), {})
    return path


@lru_cache(maxsize=2)  # one size at a time, its positions resized one way or the other
def _random_backbone(name: str, image_px: int, pos_resize: str) -> Backbone:
    from zsad_train.towers import load_backbone

    return load_backbone(name, pretrained="random:0", image_size=image_px, pos_resize=pos_resize)


def build(name: str, backbone: Backbone) -> Method:
    """Build a method by its default preset, with a memory if it keeps one."""
    from zsad_train.descriptions import BUILT_IN, read_descriptions
    from zsad_train.methods import UNTRAINED, method_class
    from zsad_train.methods.base import TrainingWords

    cls = method_class(name)
    config = cls.presets[name]
    if name in UNTRAINED:
        return cls(backbone, config, cls.words_for("object")).eval()
    sentences = read_descriptions(BUILT_IN)
    words = TrainingWords(("object",), sentences.abnormal, sentences.normal, TYPES)
    method = cls(backbone, config, words)
    method.memorise([memory(backbone)])
    return method.eval()


def memory(backbone: Backbone) -> Any:
    """One normal and one defective image, for methods that remember; each adds its keys."""
    import torch

    from zsad_train.methods.base import Batch

    height, width = backbone.info.image_hw
    masks = torch.zeros(2, height, width)
    masks[1, : height // 2] = 1
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    labels, known = torch.tensor([0, 1]), torch.ones(2, dtype=torch.bool)
    return Batch(images, labels, masks, known, torch.zeros(2, dtype=torch.int64))


def flop_run(module: nn.Module, images: Tensor) -> int:
    """Count multiplications and additions of products and convolutions while a module runs."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # The counter does not know the CPU's fused attention.
    math = sdpa_kernel(SDPBackend.MATH)
    with torch.no_grad(), math, FlopCounterMode(display=False) as counter:
        module(images)
    return int(counter.get_total_flops())


def reached(program: torch.export.ExportedProgram) -> list[Tensor]:
    """Return the weights and constants that an image meets, each once."""
    from torch.export.graph_signature import InputKind

    kept = {node.name for node in program.graph.nodes if node.op == "placeholder" and node.users}
    names = [
        spec.target
        for spec in program.graph_signature.input_specs
        if spec.kind is not InputKind.USER_INPUT and spec.arg.name in kept
    ]
    held = {**program.state_dict, **program.constants}
    return list({held[name].data_ptr(): held[name] for name in names if name}.values())


def exported(module: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """Return a module as a graph of single operations, without those that nothing reads."""
    import torch

    with torch.no_grad():
        traced = torch.export.export(module, (images,), strict=False)
    program: torch.export.ExportedProgram = traced.run_decompositions()
    program.graph.eliminate_dead_code()
    return program


def node_flop(node: torch.fx.Node) -> int:
    """Count one operation of a graph."""
    from torch.utils._pytree import tree_map
    from torch.utils.flop_counter import flop_registry

    packet = getattr(node.target, "overloadpacket", None)
    if packet not in flop_registry:
        return 0
    counted: Callable[..., int] = flop_registry[packet]
    arguments = tree_map(lambda a: a.meta["val"] if hasattr(a, "meta") else a, node.args)
    return int(counted(*arguments, out_val=node.meta["val"]))


def table(costs: list[Cost]) -> str:
    """Return the Markdown table: one row per method, sizes side by side."""
    from zsad_train.methods import reading_mark

    by_method: dict[str, dict[int, Cost]] = {}
    for cost in costs:
        by_method.setdefault(cost.method, {})[cost.image_px] = cost
    sizes = sorted({cost.image_px for cost in costs})
    head = ["method", "learned", *(f"GFLOP at {px}, text anew" for px in sizes), "graph MB"]
    rows = []
    for method, at in by_method.items():
        cells = [_arithmetic(at, px) for px in sizes]
        last = at[max(at)]
        mark = reading_mark(method)
        rows.append([f"`{method}`{mark}", f"{last.learned:,}", *cells, f"{last.graph_mb:,.0f}"])
    return markdown(head, rows)


def _arithmetic(at: Mapping[int, Cost], px: int) -> str:
    return f"{at[px].gflop:,.1f}, {at[px].gflop_unbaked:,.1f}" if px in at else "-"


if __name__ == "__main__":
    main()
