"""Float32 islands: compute that a half-precision graph does in float32 where it should not.

The similarity head is meant to be float32. It is the graph's end, so nothing after it is in half
precision again; float32 compute whose result returns to half precision was left behind by mistake.
One that only chooses among half-precision values, by their indices, does not return to it.
The rule needs neither torch nor onnx, for it also runs on the network that a compiler parsed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

FloatType = Literal["float32", "float16", "other"]


@dataclass(frozen=True)
class Op:
    """One operator of a graph, whoever parsed it.

    Attributes:
        name: The operator's name.
        is_compute: Whether it multiplies matrices or convolves, where precision costs time.
        inputs: Names of the tensors it reads.
        outputs: Names of the tensors it writes.
    """

    name: str
    is_compute: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class ComputeTypes:
    """The types of a graph's compute operators, as their names in graph order.

    Attributes:
        half: In half precision.
        head: In float32, with nothing in half precision after them.
        islands: In float32, with half precision after them.
    """

    half: tuple[str, ...]
    head: tuple[str, ...]
    islands: tuple[str, ...]

    def strays(self, float32: Collection[str]) -> tuple[str, ...]:
        """Return the islands that are in none of the modules which are to stay in float32."""
        return tuple(name for name in self.islands if not belongs_to(name, float32))


def belongs_to(node: str, modules: Collection[str]) -> bool:
    """Whether an operator is one of `modules`' own or of what is inside of them.

    Args:
        node: Its name, the path of its module before a stroke: `vision.blocks.3.mlp.c_fc/MatMul`.
        modules: Paths of modules; one that ends with a stroke stands for its own operators only.
    """
    return any(node.startswith(m if m.endswith("/") else (f"{m}/", f"{m}.")) for m in modules)


def classify_compute(ops: Sequence[Op], types: Mapping[str, FloatType]) -> ComputeTypes:
    """Sort the compute operators of a graph by the type of what they write.

    Args:
        ops: The graph's operators in topological order.
        types: Type of every tensor; a missing one counts as `other`.
    """
    before_half: set[str] = set()
    half: list[str] = []
    head: list[str] = []
    islands: list[str] = []
    for op in reversed(ops):
        written = {types.get(name, "other") for name in op.outputs} - {"other"}
        if not written:
            continue
        returns = any(name in before_half for name in op.outputs)
        if op.is_compute and "float16" in written:
            half.append(op.name)
        elif op.is_compute and "float32" in written:
            (islands if returns else head).append(op.name)
        if returns or "float16" in written:
            # Shapes and indices carry no precision.
            before_half.update(name for name in op.inputs if types.get(name, "other") != "other")
    return ComputeTypes(tuple(half[::-1]), tuple(head[::-1]), tuple(islands[::-1]))
