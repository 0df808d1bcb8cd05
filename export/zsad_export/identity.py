"""What a manifest says of a model, and the manifest itself."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from zsad.artifact import hash_files
from zsad.manifest import SCHEMA, BackboneRecord, GraphFile, Manifest, MethodInfo, TextInput, Words
from zsad.parity_record import ParityRecord
from zsad.preprocess import PreprocessSpec
from zsad.schema import to_json
from zsad_export.graph import input_specs, output_specs
from zsad_train.batches import preprocess_spec
from zsad_train.checkpoint import Checkpoint

MAKERS = ("zsad", "torch", "open_clip_torch", "onnx", "onnxscript", "onnxruntime", "numpy")
"""The packages whose versions the manifest records."""


@dataclass(frozen=True)
class Identity:
    """What the manifest says about the model, whatever graphs are made of it."""

    method: MethodInfo
    backbone: BackboneRecord
    words: Words
    preprocess: PreprocessSpec


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


def manifest_of(
    identity: Identity,
    scratch: Path,
    graphs: Mapping[str, GraphFile],
    parity: Mapping[str, ParityRecord],
    text: TextInput | None,
    table_width: int | None,
) -> Manifest:
    """Return the manifest of the files that stand in an artifact's scratch directory.

    Args:
        identity: The model.
        scratch: The scratch directory, with every other file.
        graphs: By precision.
        parity: What the gate found of each.
        text: Where the text is an input; None where it is baked.
        table_width: Columns of the text table, where there is one.
    """
    shape = (identity.preprocess.height, identity.preprocess.width), table_width
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
