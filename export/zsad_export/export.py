"""From a checkpoint to an artifact: bake, export, hold against the reference, seal.

The steps are ordered so that a ViT-L fits into 12 GB: the method is dropped once it is baked, and
the half-precision graph is made by converting the float32 one in place.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from zsad.artifact import Artifact, artifact_writer, hash_files, seal
from zsad.data import Dataset
from zsad.errors import InputError
from zsad.manifest import (
    SCHEMA,
    BackboneRecord,
    GraphFile,
    Manifest,
    MethodInfo,
    ParityRecord,
    TextInput,
    Words,
)
from zsad.preprocess import PreprocessSpec
from zsad.schema import to_json
from zsad.text_table import TEXT_TABLE
from zsad.words import check_words
from zsad_export.choices import Approximation, approximated, choose, undone
from zsad_export.float_export import write_float_graph
from zsad_export.gate import Gate
from zsad_export.golden import golden_frames, write_golden
from zsad_export.graph import input_specs, output_specs, table_width
from zsad_export.graph_names import FloatPrecision, GraphPrecision
from zsad_export.int8_export import Calibration, Int8Options, write_int8_graphs
from zsad_export.labelled import LabelledReference
from zsad_export.memory import release_memory
from zsad_export.reference import ReferencePredictor, run_reference
from zsad_export.text_export import write_text
from zsad_train.batches import preprocess_spec
from zsad_train.checkpoint import Checkpoint, build_method, load_checkpoint
from zsad_train.methods import check_names_types
from zsad_train.methods.base import Method

Progress = Callable[[str], None]

MAKERS = ("zsad", "torch", "open_clip_torch", "onnx", "onnxscript", "onnxruntime", "numpy")
"""The packages whose versions the manifest records."""


_INT8_OF: Mapping[FloatPrecision, GraphPrecision] = {"fp32": "int8", "fp16": "int8_fp16"}


@dataclass(frozen=True)
class Identity:
    """What the manifest says about the model, whatever graphs are made of it."""

    method: MethodInfo
    backbone: BackboneRecord
    words: Words
    preprocess: PreprocessSpec


def read_for_export(path: Path, image_size: int | None = None) -> Checkpoint:
    """Read a checkpoint without its optimiser, at another input side in pixels where given.

    Raises:
        InputError: The file is no checkpoint.
    """
    checkpoint = dataclasses.replace(load_checkpoint(path), training={})
    if image_size is None:
        return checkpoint
    resized = dataclasses.replace(checkpoint.backbone, image_hw=(image_size, image_size))
    return dataclasses.replace(checkpoint, backbone=resized)


def export_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    *,
    fp16: bool = False,
    int8: Int8Options | None = None,
    pretrained: str | None = None,
    choices: Mapping[str, str] | None = None,
    defects: tuple[str, ...] = (),
    gate_data: Dataset | None = None,
    allow_parity_loss: bool = False,
    progress: Progress = lambda step: None,
) -> Artifact:
    """Turn what `checkpoint` says into the artifact directory `out`.

    The FP32 graph is always written: it is the reference, and what a CPU runs.

    Args:
        checkpoint: A trained method, or one that needs no training.
        out: The artifact; one that stands there is replaced once the new one is whole.
        fp16: Also write an FP16 graph and make it the default.
        int8: Also write the float32 graph with its linears in INT8, and with `fp16` the FP16 graph
            too. Neither is the default: INT8 costs accuracy, so it is asked for by name.
        pretrained: Where the backbone's weights are now, if they have moved.
        choices: Options of the method that only inference knows, by the names of
            `EXPORT_CHOICES`. What an approximation costs on the golden frames is part of the
            evidence of each graph.
        defects: Words for the defect types to look for, where the method names types; empty for
            those it was trained with.
        gate_data: Labelled images on which each graph's AUROC is held against its budget, too.
        allow_parity_loss: Record a graph that is over the parity limits instead of failing.
        progress: Is told each step as it begins.

    Raises:
        InputError: The checkpoint, its backbone or its defect types cannot be used, or `out` cannot
            be written.
        ParityError: A graph is over the parity limits.
    """
    choices = choices or {}
    if defects:
        checkpoint = with_defects(checkpoint, defects)
    check_words(checkpoint.words.types)
    trained = choose(checkpoint, undone(choices))
    checkpoint = choose(checkpoint, choices)
    approximation = None
    if chosen := approximated(choices):
        approximation = Approximation(chosen, partial(_build, trained, pretrained))
    precisions: tuple[FloatPrecision, ...] = ("fp32", "fp16") if fp16 else ("fp32",)
    artifact = export_model(
        partial(_build, checkpoint, pretrained),
        identity_of(checkpoint),
        out,
        precisions,
        int8=int8,
        approximation=approximation,
        gate_data=gate_data,
        allow_parity_loss=allow_parity_loss,
        progress=progress,
    )
    release_memory()
    return artifact


def _build(checkpoint: Checkpoint, pretrained: str | None) -> Method:
    return build_method(checkpoint, pretrained=pretrained).eval()


def with_defects(checkpoint: Checkpoint, defects: tuple[str, ...]) -> Checkpoint:
    """Return `checkpoint` with other defect types to look for.

    Raises:
        InputError: Its method names no types.
    """
    check_names_types(checkpoint.method_name)
    words = dataclasses.replace(checkpoint.words, types=defects)
    return dataclasses.replace(checkpoint, words=words)


def identity_of(checkpoint: Checkpoint) -> Identity:
    """Return what a manifest records of a checkpoint."""
    info, words = checkpoint.backbone, checkpoint.words
    return Identity(
        method=MethodInfo(checkpoint.method_name, to_json(checkpoint.options)),
        backbone=BackboneRecord(
            name=info.name,
            pretrained=Path(info.pretrained).name,  # a file's name; its folder is nobody's business
            sha256=info.sha256,
            quickgelu=info.quickgelu,
            pos_resize=info.pos_resize,
        ),
        words=Words(normal=words.normal, abnormal=words.abnormal, types=words.types),
        preprocess=preprocess_spec(info),
    )


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
    """Write the artifact of the method that `build` makes; see `export_checkpoint`."""
    if out.is_file():
        raise InputError(f"{out} is a file: choose another --out")
    spec = identity.preprocess
    # Read before anything that takes minutes: a bad image is found at once.
    calibration = None if int8 is None else Calibration.read(int8, spec, progress)
    with artifact_writer(out) as scratch, ExitStack() as stack:
        progress("running the reference on the golden frames")
        frames = golden_frames()
        method = build()
        reference = run_reference(method, frames, spec)
        # Anything with `forward` and `bake` can be exported; only a `Method` may keep text open.
        text = method.open_text() if isinstance(method, Method) else None
        constants = {} if text is None else {TEXT_TABLE: text.table.numpy()}
        write_golden(scratch, frames, reference, constants)
        notes = []
        if approximation is not None:
            progress("measuring the approximation")
            notes.append(approximation.describe(frames, reference, spec))
        labelled = None
        if gate_data is not None:
            progress(f"judging {len(gate_data)} images of {gate_data.name}")
            predictor = ReferencePredictor(method, spec)
            labelled = stack.enter_context(LabelledReference(gate_data, predictor, "PyTorch"))
            del predictor
        written = None
        if text is not None:
            progress("exporting and checking what encodes other words")
            context = method.backbone.text.context_length
            written = write_text(scratch, text, identity.words.types, context)
            del text
        progress("baking the text")
        baked = method.bake()
        del method
        gate = Gate(build, frames, reference, spec, allow_parity_loss, constants, labelled)
        graphs: dict[str, GraphFile] = {}
        parity: dict[str, ParityRecord] = {}
        for precision in precisions:
            release_memory()
            progress(f"exporting and checking the {precision} graph")
            graphs[precision], record = write_float_graph(scratch, baked, precision, gate)
            parity[precision] = _noted(record, notes)
        del baked
        if calibration is not None:
            release_memory()
            wanted = [_INT8_OF[precision] for precision in precisions]
            made = write_int8_graphs(scratch, wanted, calibration, gate, parity, progress)
            for name, (graph, record) in made.items():
                graphs[name], parity[name] = graph, _noted(record, notes)
        seal(scratch, _manifest(identity, scratch, gate, graphs, parity, written))
    return Artifact.open(out)


def _noted(record: ParityRecord, notes: Sequence[str]) -> ParityRecord:
    return dataclasses.replace(record, evidence="; ".join([record.evidence, *notes]))


def _manifest(
    identity: Identity,
    scratch: Path,
    gate: Gate,
    graphs: dict[str, GraphFile],
    parity: dict[str, ParityRecord],
    text: TextInput | None,
) -> Manifest:
    shape = (gate.spec.height, gate.spec.width), table_width(gate.constants)
    return Manifest(
        schema=SCHEMA,
        method=identity.method,
        backbone=identity.backbone,
        words=identity.words,
        preprocess=identity.preprocess,
        inputs=input_specs(*shape),
        outputs=output_specs(*shape),
        graphs=graphs,
        default_precision="fp16" if "fp16" in graphs else "fp32",
        parity=parity,
        files=hash_files(scratch),
        made_by={name: _version(name) for name in MAKERS} | {"python": platform.python_version()},
        text=text,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
