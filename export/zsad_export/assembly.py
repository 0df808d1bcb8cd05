"""An artifact in the making: bake, export, hold against the reference, seal.

The steps are ordered so that a ViT-L fits into 12 GB: the method is dropped once it is baked, and
the half-precision graph is made by converting the float32 one in place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from torch import nn

from zsad.artifact import Artifact, artifact_writer, seal
from zsad.data import Dataset
from zsad.errors import InputError
from zsad.manifest import GraphFile, Manifest, TextInput
from zsad.parity_record import ParityRecord
from zsad.text_table import TEXT_TABLE
from zsad.types import Array
from zsad_export.choices import Approximation
from zsad_export.float_export import write_float_graph
from zsad_export.gate import Gate
from zsad_export.golden import golden_frames, write_golden
from zsad_export.graph import table_width
from zsad_export.graph_names import FloatPrecision, GraphPrecision
from zsad_export.identity import Identity, manifest_of
from zsad_export.int8_export import write_int8_graphs
from zsad_export.int8_options import Calibration, Int8Options
from zsad_export.labelled import LabelledReference
from zsad_export.memory import release_memory
from zsad_export.reference import ReferencePredictor, run_reference
from zsad_export.text_export import write_text
from zsad_train.methods.base import Method

Progress = Callable[[str], None]

_INT8_OF: Mapping[FloatPrecision, GraphPrecision] = {"fp32": "int8", "fp16": "int8_fp16"}


def export_model(
    build: Callable[[], Method],
    identity: Identity,
    out: Path,
    precisions: Sequence[FloatPrecision],
    *,
    int8: Int8Options | None = None,
    approximation: Approximation | None = None,
    gate_data: Dataset | None = None,
    allow_parity_loss: bool = False,
    progress: Progress = lambda step: None,
) -> Artifact:
    """Write the artifact of the method that `build` makes.

    Args:
        build: Makes the method, once for its graphs and again to find a layer to blame.
        identity: What the manifest says about it.
        out: The artifact; one that stands there is replaced once the new one is whole.
        precisions: The float graphs, FP32 first.
        int8: How INT8 graphs are made of them; None for none.
        approximation: What `build` is in place of, where it is not the method as it was trained.
        gate_data: As of `export_checkpoint`, like all that follows.
        allow_parity_loss: See there.
        progress: See there.

    Raises:
        InputError: The method cannot be built or calibrated, or `out` cannot be written.
        ParityError: A graph is over the parity limits.
    """
    if out.is_file():
        raise InputError(f"{out} is a file: choose another --out")
    # Read before anything that takes minutes: a bad image is found at once.
    calibration = None if int8 is None else Calibration.read(int8, identity.preprocess, progress)
    with artifact_writer(out) as scratch, ExitStack() as stack:
        assembly = _Assembly(build, identity, scratch, progress)
        baked, gate = assembly.bake(approximation, gate_data, allow_parity_loss, stack)
        assembly.write_float(precisions, baked, gate)
        del baked
        if calibration is not None:
            assembly.write_int8([_INT8_OF[each] for each in precisions], calibration, gate)
        seal(scratch, assembly.manifest(gate))
    return Artifact.open(out)


class _Assembly:
    """What is known of an artifact while its files are written."""

    def __init__(
        self,
        build: Callable[[], Method],
        identity: Identity,
        scratch: Path,
        progress: Progress,
    ) -> None:
        self._build, self._identity = build, identity
        self._scratch, self._progress = scratch, progress
        self._graphs: dict[str, GraphFile] = {}
        self._parity: dict[str, ParityRecord] = {}
        self._notes: list[str] = []
        self._text: TextInput | None = None

    def bake(
        self,
        approximation: Approximation | None,
        gate_data: Dataset | None,
        allow_loss: bool,
        stack: ExitStack,
    ) -> tuple[nn.Module, Gate]:
        """Return the baked method and what its graphs are held against.

        The method itself ends with this call, so that what follows has its memory.
        """
        self._progress("running the reference on the golden frames")
        frames, spec, method = golden_frames(), self._identity.preprocess, self._build()
        reference = run_reference(method, frames, spec)
        constants = self._write_text(method)
        write_golden(self._scratch, frames, reference, constants)
        if approximation is not None:
            self._progress("measuring the approximation")
            self._notes.append(approximation.describe(frames, reference, spec))
        labelled = None
        if gate_data is not None:
            self._progress(f"judging {len(gate_data)} images of {gate_data.name}")
            judged = LabelledReference(gate_data, ReferencePredictor(method, spec), "PyTorch")
            labelled = stack.enter_context(judged)
        self._progress("baking the text")
        baked = method.bake()
        return baked, Gate(self._build, frames, reference, spec, allow_loss, constants, labelled)

    def write_float(
        self, precisions: Sequence[FloatPrecision], baked: nn.Module, gate: Gate
    ) -> None:
        """Write the float graphs; that of FP16 converts `baked` in place."""
        for precision in precisions:
            release_memory()
            self._progress(f"exporting and checking the {precision} graph")
            self._keep(precision, *write_float_graph(self._scratch, baked, precision, gate))

    def write_int8(
        self, precisions: Sequence[GraphPrecision], calibration: Calibration, gate: Gate
    ) -> None:
        """Write the INT8 graphs, which are made from the float ones."""
        release_memory()
        made = write_int8_graphs(
            self._scratch, precisions, calibration, gate, self._parity, self._progress
        )
        for precision, (graph, record) in made.items():
            self._keep(precision, graph, record)

    def manifest(self, gate: Gate) -> Manifest:
        """Return the manifest of what was written."""
        width = table_width(gate.constants)
        return manifest_of(
            self._identity, self._scratch, self._graphs, self._parity, self._text, width
        )

    def _write_text(self, method: nn.Module) -> dict[str, Array]:
        """Write what encodes other words, where text stays open; return the graph's constants."""
        # Anything with `forward` and `bake` can be exported; only a `Method` may keep text open.
        if not isinstance(method, Method) or (text := method.open_text()) is None:
            return {}
        self._progress("exporting and checking what encodes other words")
        context = method.backbone.text.context_length
        self._text = write_text(self._scratch, text, self._identity.words.types, context)
        return {TEXT_TABLE: text.table.numpy()}

    def _keep(self, precision: GraphPrecision, graph: GraphFile, record: ParityRecord) -> None:
        evidence = "; ".join([record.evidence, *self._notes])
        self._graphs[precision] = graph
        self._parity[precision] = dataclasses.replace(record, evidence=evidence)
