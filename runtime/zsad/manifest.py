"""The manifest: what an artifact says about itself. Its hash is the artifact's identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsad.errors import InputError
from zsad.parity_record import ParityRecord
from zsad.precision import PRECISIONS as PRECISIONS
from zsad.precision import Precision as Precision
from zsad.preprocess import PreprocessSpec
from zsad.schema import from_json, read_json

SCHEMA = 1


@dataclass(frozen=True)
class MethodInfo:
    """The method and every option it was trained with, as plain JSON values."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class BackboneRecord:
    """The CLIP that the graph was made from.

    Attributes:
        name: open_clip name, or `tiny` or `tiny-grain`, which the package carries.
        pretrained: Tag or file name of the weights; `random` for random weights.
        sha256: Hash of the weights file, empty for random weights.
        quickgelu: Whether the towers use x * sigmoid(1.702 x).
        pos_resize: How the position table was resized, recorded since families differ.
    """

    name: str
    pretrained: str
    sha256: str
    quickgelu: bool
    pos_resize: str


@dataclass(frozen=True)
class Words:
    """The text that was baked, or its default where the text is an input."""

    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    types: tuple[str, ...] = ()


@dataclass(frozen=True)
class TensorSpec:
    """A graph's input or output; a string in `shape` is a symbolic dimension."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class GraphFile:
    """One ONNX graph of the artifact; `data` is its external weights file, if it has one."""

    file: str
    data: str | None
    sha256: str
    opset: int


@dataclass(frozen=True)
class TextInput:
    """The text of a graph that takes it as an input, and what it takes to change its words.

    Attributes:
        table: File of the table for `words.types`: (1 + K, D) float32, normality and the types.
        encoder: Graph from token ids (K, `context`) int64 to rows (K, D) float32.
        vocabulary: File of CLIP's byte-pair merges, gzipped.
        template: What is said about a word, which takes the place of `{}`.
        context: Token ids of a sentence.
        max_types: Largest K.
        max_abs: Largest difference of a row between the encoder and PyTorch, measured at export.
    """

    table: str
    encoder: GraphFile
    vocabulary: str
    template: str
    context: int
    max_types: int
    max_abs: float


@dataclass(frozen=True)
class Manifest:
    """Everything a reader must know before it trusts the artifact's files.

    Attributes:
        files: SHA-256 of every other file in the directory, keyed by its relative path.
        made_by: Versions of what made the artifact.
        text: Where the text is an input of the graphs; None where it is baked.
    """

    schema: int
    method: MethodInfo
    backbone: BackboneRecord
    words: Words
    preprocess: PreprocessSpec
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    graphs: Mapping[str, GraphFile]
    default_precision: Precision
    parity: Mapping[str, ParityRecord]
    files: Mapping[str, str]
    made_by: Mapping[str, str]
    text: TextInput | None = None

    def __post_init__(self) -> None:
        if self.default_precision not in self.graphs:
            have = ", ".join(self.graphs)
            raise InputError(f"manifest: no {self.default_precision} graph, only {have or 'none'}")
        for graph in self.graphs.values():
            self._check_listed(graph)
        if self.text is not None:
            self._check_text(self.text)

    @property
    def words_sha256(self) -> str | None:
        """Hash of the text table, which a threshold depends on; None where the text is baked."""
        return None if self.text is None else self.files[self.text.table]

    def _check_text(self, text: TextInput) -> None:
        self._check_listed(text.encoder)
        for name in (text.table, text.vocabulary):
            if name not in self.files:
                raise InputError(f"manifest: {name} is not in 'files'")
        if text.template.count("{}") != 1:
            raise InputError(f"manifest: text template '{text.template}' has not one {{}}")

    def _check_listed(self, graph: GraphFile) -> None:
        if self.files.get(graph.file) != graph.sha256:
            raise InputError(f"manifest: {graph.file} is not in 'files' with the same hash")
        if graph.data is not None and graph.data not in self.files:
            raise InputError(f"manifest: {graph.data} is not in 'files'")


def read_manifest(path: Path) -> Manifest:
    """Read and check a `manifest.json`.

    Raises:
        InputError: The file is missing, not JSON, of a newer schema, or breaks the contract.
    """
    data = read_json(path, "artifact manifest")
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, int) or schema < 1:
        raise InputError(f"{path} is not an artifact manifest: it has no schema number")
    if schema > SCHEMA:
        raise InputError(
            f"{path} has schema {schema}, this zsad reads up to {SCHEMA}: upgrade zsad"
        )
    return from_json(Manifest, data, str(path))
