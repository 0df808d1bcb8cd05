"""Keep modules of a half-precision graph in float32, with casts only where values cross over.

The graphs of both precisions have the same nodes by the same names, so the float32 one lends its
weights: what half precision cannot hold was never rounded to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from zsad_export.float_islands import belongs_to
from zsad_export.onnx_types import tensor_types

_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16


class Widener:
    """Rewrites a half-precision graph, each time anew from what it was at first."""

    def __init__(self, path: Path, exact: Path, data: str | None = None) -> None:
        """Read the graphs of one model.

        Args:
            path: The half-precision graph, which will be replaced.
            exact: The float32 graph.
            data: External weights file of the former, if it has one.
        """
        self._path, self._data = path, data
        self._plain, self._exact = onnx.load(str(path)), onnx.load(str(exact)).graph

    def keep(self, modules: Collection[str]) -> None:
        """Write the graph in which `modules`, as `unit_of` names them, compute in float32."""
        model = onnx.ModelProto()
        model.CopyFrom(self._plain)
        _Widening(model.graph, self._exact, modules).run()
        if self._data is not None:
            self._path.with_name(self._data).unlink()  # onnx would append to it
        onnx.save_model(
            model,
            str(self._path),
            save_as_external_data=self._data is not None,
            location=self._data,
        )
        onnx.checker.check_model(str(self._path), full_check=True)


def unit_of(node: str) -> str:
    """Return what is kept in float32 as a whole with a node, by the path of its module.

    It is one child of a numbered block (`vision.blocks.3.mlp`), so that nothing in it goes back to
    half precision in between; the whole block where the node is the block's own, as those of
    attention are; and without a number the module's own nodes, with a stroke (`vision.ln_pre/`).
    """
    module = node.rpartition("/")[0]
    parts = module.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdecimal()), None)
    return f"{module}/" if number is None else ".".join(parts[: number + 2])


class _Widening:
    """One rewriting of a graph in place."""

    def __init__(
        self, graph: onnx.GraphProto, exact: onnx.GraphProto, modules: Collection[str]
    ) -> None:
        self._graph, self._modules = graph, modules
        self._twins = {node.name: node for node in exact.node}
        self._exact = {w.name: w for w in exact.initializer}
        self._types = tensor_types(graph)
        self._weights = {w.name: w for w in graph.initializer}
        self._values = {v.name: v for v in graph.value_info}
        inside = [node for node in graph.node if self._is_inside(node)]
        self._wide = {name for node in inside for name in node.output if self._is_half(name)}
        self._made: set[str] = set()

    def run(self) -> None:
        """Rewrite the nodes, the types of what they write, and the weights they read."""
        nodes = [new for node in list(self._graph.node) for new in self._rewritten(node)]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        for name in self._wide:
            self._values[name].type.tensor_type.elem_type = _FLOAT
        self._drop_unread_weights()

    def _is_inside(self, node: NodeProto) -> bool:
        return belongs_to(node.name, self._modules)

    def _is_half(self, name: str) -> bool:
        return self._types.get(name) == "float16"

    def _rewritten(self, node: NodeProto) -> Iterator[NodeProto]:
        """Return the casts that a node now needs before it, and the node."""
        inside = self._is_inside(node)
        reads_wide = any(name in self._wide for name in node.input)
        if node.op_type == "Cast" and (inside or (reads_wide and _casts_to(node) == _FLOAT)):
            yield from self._recast(node)
            return
        for index, name in enumerate(node.input):
            if inside and self._is_half(name) and name not in self._wide:
                if name in self._weights:
                    node.input[index] = self._float_weight(node, index)
                else:
                    yield from self._cast(name, _FLOAT, "float32")
                    node.input[index] = f"{name}.float32"
            elif not inside and name in self._wide:
                yield from self._cast(name, _HALF, "float16")
                node.input[index] = f"{name}.float16"
        yield node

    def _recast(self, node: NodeProto) -> Iterator[NodeProto]:
        """A cast between the floats has nothing left to do where both its sides are float32."""
        (source,) = node.input
        if _casts_to(node) in (_FLOAT, _HALF) and (
            source in self._wide or self._types.get(source) == "float32"
        ):
            yield helper.make_node("Identity", [source], list(node.output), name=node.name)
            return
        if _casts_to(node) == _HALF:
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("to", _FLOAT))
        yield node

    def _cast(self, name: str, kind: int, suffix: str) -> Iterator[NodeProto]:
        made = f"{name}.{suffix}"
        if made in self._made:
            return
        self._made.add(made)
        value = self._graph.value_info.add()
        if name in self._values:
            value.CopyFrom(self._values[name])
        value.name = made
        value.type.tensor_type.elem_type = kind
        yield helper.make_node("Cast", [name], [made], name=f"{made}/Cast", to=kind)

    def _float_weight(self, node: NodeProto, index: int) -> str:
        # By its place and not by its name: weights that are one after rounding may not be before.
        name = self._twins[node.name].input[index]
        made = f"{name}.float32"
        if made not in self._made:
            self._made.add(made)
            values = numpy_helper.to_array(self._exact[name])
            self._graph.initializer.append(numpy_helper.from_array(values, made))
        return made

    def _drop_unread_weights(self) -> None:
        read = {name for node in self._graph.node for name in node.input}
        kept = [w for w in self._graph.initializer if w.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)


def _casts_to(node: NodeProto) -> int:
    return int(next(attribute.i for attribute in node.attribute if attribute.name == "to"))
